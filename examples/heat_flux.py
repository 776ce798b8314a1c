# %% [markdown]
# # The heat flux of a network, in two ways
#
# `J = sum_ij (r_i - r_j) (dE_i/dr_j · v_j)` is a sum over partial forces, if the cell is so large
# that no atom meets an image of another one twice. `heat_flux` takes two backward passes, in cells
# of any size: here both, and what becomes of the sum in a small cell.

# %%
import numpy as np
import torch
from ase import units
from ase.build import bulk

from nablatom.models import AtomicDataDict, NequIP
from nablatom.outputs import heat_flux, partial_forces

model = NequIP(types=["Si"], cutoff=2.6, layers=2, l_max=1, features=8).eval()  # random weights


def moving_silicon(repeats):
    """A cubic crystal, and velocities as they are at 300 K, in ASE's unit."""
    silicon = bulk("Si", cubic=True).repeat(repeats)
    silicon.rattle(0.05, seed=0)
    width = np.sqrt(units.kB * 300 / silicon.get_masses())[:, None]
    return silicon, torch.tensor(np.random.default_rng(0).normal(size=(len(silicon), 3)) * width)


def sum_over_pairs(silicon, data, velocities):
    """The definition, with the nearest image of every pair; eV Å over ASE's unit of time."""
    rows = partial_forces(model, data).to(arrays="numpy").block().gradient("positions")
    i, j = rows.samples["sample"], rows.samples["atom"]
    toward_i = -silicon.get_all_distances(mic=True, vector=True)[i, j]  # r_i - r_j
    return np.einsum("pa,pb,pb->a", toward_i, rows.values[..., 0], velocities.numpy()[j])


# %% [markdown]
# Three cells along each axis, 16 Å, are more than twice the reach of 5.2 Å; one cell is not.

# %%
for repeats in (3, 1):
    silicon, velocities = moving_silicon(repeats)
    data = AtomicDataDict.from_ase(silicon, cutoff=model.cutoff)
    flux = heat_flux(model, data, velocities)[0].numpy()
    summed = sum_over_pairs(silicon, data, velocities)
    per_fs = units.fs / silicon.get_volume()
    print(f"{len(silicon)} atoms, flux / volume in eV/Å²/fs")
    print("  two passes:      ", flux * per_fs)
    print("  sum over pairs:  ", summed * per_fs)
    assert np.allclose(flux, summed, rtol=0, atol=1e-10) == (repeats == 3)
