# %% [markdown]
# # A network of energies, trained on forces
#
# The descriptor is computed once and stores its derivatives; the layers carry them along by the
# chain rule. So the energies that come out have forces, and the loss can ask for both.

# %%
import torch

import nablatom
from nablatom import nn
from nablatom.descriptors import Cutoff, Gto, SoapPowerSpectrum
from nablatom.systems import reference_energies, strained_cells
from nablatom.train import compare, split_frames

torch.manual_seed(0)
structures = strained_cells(40)  # copper, labelled with ASE's EMT: eV, eV/Å
train, test = split_frames(len(structures))

# %% [markdown]
# Sixteen principal components of a power spectrum, of about unit size. Each step is an operation
# on a map with gradients: none of them has to be thought of twice.

# %%
spectrum = SoapPowerSpectrum(cutoff=Cutoff(5.0, width=2.0), radial=Gto(3), max_angular=3)
descriptor = spectrum(structures, gradients=["positions"])
components = nablatom.pca(descriptor, 16)
unit = components.variances.block().values.mean() ** 0.5
features = (components.project(descriptor) / unit).to(arrays="torch")
print(features.block(), "\n")

# %% [markdown]
# Two layers give an energy for each atom, and a sum that of each structure, with forces.

# %%
float64 = {"dtype": torch.float64}
network = nn.Sequential(
    features.keys,
    nn.Linear(features.keys, 16, 32, **float64),
    nn.SiLU(features.keys),
    nn.Linear(features.keys, 32, out_properties=[nablatom.Labels.range("energy", 1)], **float64),
)


def energies(part):
    """Energies of structures, with minus their forces as `positions` gradient."""
    atoms = network(part).keys_to_samples(list(part.keys.names))
    return nablatom.sum_over_samples(atoms, ["atom", *part.keys.names])


# %% [markdown]
# The loss reads energies per atom (eV) and forces (eV/Å) off one block, and `backward` goes
# through the stored gradients as it goes through the values.


# %%
def part_of(tensor, frames):
    return nablatom.slice(tensor, "samples", nablatom.Labels(["system"], frames[:, None]))


labels = reference_energies(structures)
x, y = part_of(features, train), part_of(labels, train).to(arrays="torch").block()
sizes = torch.tensor([[len(structures[frame])] for frame in train])
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(301):
    found = energies(x).block()
    off = (found.values - y.values) / sizes
    off_forces = found.gradient("positions").values - y.gradient("positions").values
    loss = 10 * off.square().mean() + off_forces.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step:3d}: forces off by {off_forces.square().mean() ** 0.5:.3f} eV/Å")

# %%
errors = compare(energies(features).to(arrays="numpy"), labels, structures)
for target, comparison in errors.items():
    print(f"{target}: {comparison.of(test).mae:.3g} {comparison.unit} off in the test")
assert errors["forces"].of(test).mae < 100  # meV/Å, a tenth of the forces
