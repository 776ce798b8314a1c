# %% [markdown]
# # Who acts on whom: partial forces of a network
#
# `F_ij = -dE_i/dr_j` says how the energy of atom i pushes atom j. A network gives them as what
# they are, the `positions` gradient of the energies of atoms: from there on they are a tensor
# like any other, to be sliced, summed, saved and looked at.

# %%
import numpy as np
import torch
from ase.build import bulk

import nablatom
from nablatom.models import AtomicDataDict, NequIP
from nablatom.outputs import StressOutput, atom_energies, frame_energies, from_tensor

model = NequIP(types=["Si"], cutoff=3.0, layers=2, l_max=1, features=8).eval()  # random weights
silicon = bulk("Si", cubic=True).repeat(3)
silicon.rattle(0.1, seed=0)
data = AtomicDataDict.from_ase(silicon, cutoff=model.cutoff)

# %% [markdown]
# Two layers of 3 Å reach 6 Å. Rows beyond are not stored: 17 atoms of 216 for each energy.

# %%
atoms = atom_energies(model, data, gradients=["positions", "strain"]).to(arrays="numpy")
rows = atoms.block().gradient("positions")
print(atoms.block(), rows.samples, sep="\n\n")
print(f"\n{len(rows)} partial forces of {len(silicon) ** 2}")

# %% [markdown]
# How far does an atom act? The largest partial force by distance, in eV/Å.

# %%
i, j = rows.samples["sample"], rows.samples["atom"]
distance = silicon.get_all_distances(mic=True)[i, j]
size = np.linalg.norm(rows.values[..., 0], axis=1)
for shell in range(7):
    inside = (distance >= shell - 0.5) & (distance < shell + 0.5)
    if inside.any():
        print(f"{shell} Å: {inside.sum():4d} rows, largest {size[inside].max():.1e} eV/Å")
assert distance.max() < 2 * model.cutoff

# %% [markdown]
# What half of the crystal does to the other half: the rows of atoms on the left that push atoms
# on the right. A slice of the samples takes the gradient along.

# %%
left = np.flatnonzero(silicon.positions[:, 0] < silicon.cell[0, 0] / 2)
part = nablatom.slice(atoms, "samples", nablatom.Labels(["atom"], left[:, None]))
gradient = nablatom.sum_over_samples(part, "atom").block().gradient("positions")
right = ~np.isin(gradient.samples["atom"], left)
print("left pushes right:", -gradient.values[right, :, 0].sum(axis=0), "eV/Å")

# %% [markdown]
# The sum over all atoms is the energy of the crystal, and its gradients are forces and stress:
# those of a backward pass of the whole model, and of `StressOutput`.

# %%
total = nablatom.sum_over_samples(atoms, "atom")
assert nablatom.allclose(total, frame_energies(model, data).to(arrays="numpy"), atol=1e-10)
fields = from_tensor(total.to(arrays="torch"), data)
outputs = StressOutput(model)(data)
for name in ("forces", "stress"):
    assert torch.allclose(fields[name], outputs[name], rtol=0, atol=1e-10)

# %%
nablatom.save("silicon.mts", atoms)
print(nablatom.load("silicon.mts") == atoms)
