# %% [markdown]
# # Forces of a model on a descriptor, in three ways
#
# The energy of an atom is a function of its descriptor. Its forces come from stored gradients,
# from a product with the Jacobian that is never stored, or from torch: the same numbers at a
# different price.

# %%
import time

import numpy as np
import torch
from ase.build import bulk

import nablatom
from nablatom.descriptors import Cutoff, Gto, SoapPowerSpectrum
from nablatom.models import AtomicDataDict

copper = bulk("Cu", cubic=True).repeat(3)
copper.rattle(0.1, seed=0)
spectrum = SoapPowerSpectrum(cutoff=Cutoff(5.0), radial=Gto(4), max_angular=4)
spectrum(copper, gradients=["positions", "strain"])  # compiles its kernels, the first time ever

# %% [markdown]
# **Stored gradients.** The energy `sum_n tanh(x_n)` of every atom, with partial forces, forces and
# stress on the way. For whatever is to be looked at, saved, fitted or reused.

# %%
start = time.perf_counter()
descriptor = spectrum(copper, gradients=["positions", "strain"])
atoms = nablatom.sum_over_properties(nablatom.tanh(descriptor), ["l", "n_1", "n_2"])
energy = nablatom.sum_over_samples(atoms, "atom").block()
forces = -energy.gradient("positions").values[..., 0]  # eV/Å
stress = energy.gradient("strain").values[0, ..., 0] / copper.get_volume()  # eV/Å³
stored = descriptor.block().gradient("positions")
print(
    f"stored:  {time.perf_counter() - start:.2f} s, {stored.values.nbytes / 1e6:.0f} MB of", end=" "
)
print(f"{len(stored)} rows × 3 × {len(stored.properties)}")

# %% [markdown]
# **`vjp`.** The derivative of the energy by the descriptor goes in, forces and stress come out. For
# dynamics, and wherever one number is what is differentiated.

# %%
start = time.perf_counter()
values = spectrum(copper)
slope = nablatom.apply(lambda x: 1 / np.cosh(x) ** 2, values)
derivatives = spectrum.vjp(copper, slope)
print(f"vjp:     {time.perf_counter() - start:.2f} s")
assert np.allclose(-derivatives.positions, forces)
assert np.allclose(derivatives.strain[0] / copper.get_volume(), stress)

# %% [markdown]
# **Torch.** The descriptor as a function of atomic data: any torch model on top of it has forces,
# and can be trained on them.

# %%
start = time.perf_counter()
data = AtomicDataDict.from_ase(copper)
positions = data["pos"].requires_grad_()
tensor = spectrum.torch()({**data, "pos": positions})
total = tensor.block().values.tanh().sum()
(slope,) = torch.autograd.grad(total, positions)
print(f"torch:   {time.perf_counter() - start:.2f} s")
assert np.allclose(-slope.numpy(), forces)

# %% [markdown]
# Which forces are largest, whichever way:

# %%
largest = np.argsort(-np.linalg.norm(forces, axis=1))[:3]
for atom in largest:
    print(f"atom {atom}: {np.round(forces[atom], 3)} eV/Å")
print(f"pressure {-np.trace(stress) / 3:.4f} eV/Å³")
