# %% [markdown]
# # Gradients, stored beside the values
#
# A tensor block holds numbers and, if you like, their derivatives. This script makes a small
# one by hand, looks at where the derivatives are, and computes with them.

# %%
import numpy as np

import nablatom
from nablatom import Labels, TensorBlock, TensorMap

# %% [markdown]
# A carbon monoxide and a nitrogen molecule, both along x. Each atom is described by three
# Gaussians of the distance to its only neighbour: `x_n = exp(-(r - n)²)`.

# %%
PAIRS = {  # (center type, neighbor type): rows of (system, center, neighbor), and the distance
    (6, 8): ([(0, 0, 1)], 1.13),
    (7, 7): ([(1, 0, 1), (1, 1, 0)], 1.10),
    (8, 6): ([(0, 1, 0)], 1.13),
}


def radial_block(pairs, r):
    """What the centers see, and how it changes when either atom of a pair moves."""
    n = np.arange(3)
    features = np.exp(-((r - n) ** 2))
    samples = Labels(["system", "atom"], [[s, i] for s, i, j in pairs])
    properties = Labels.range("n", 3)
    block = TensorBlock(np.tile(features, (len(pairs), 1)), samples, [], properties)

    # A row for each pair of a sample and an atom that it depends on, and no others.
    rows = [(k, s, atom) for k, (s, i, j) in enumerate(pairs) for atom in sorted((i, j))]
    derivative = np.zeros((len(rows), 3, 3))  # (rows, xyz, n)
    for row, (_, _, atom) in enumerate(rows):
        sign = 1 if atom == 1 else -1  # atom 1 stands to the right of atom 0
        derivative[row, 0] = -2 * (r - n) * features * sign
    gradient_samples = Labels(["sample", "system", "atom"], rows)
    gradient = TensorBlock(derivative, gradient_samples, [Labels.range("xyz", 3)], properties)
    block.add_gradient("positions", gradient)
    return block


keys = Labels(["center_type", "neighbor_type"], list(PAIRS))
radial = TensorMap(keys, [radial_block(*row) for row in PAIRS.values()])
print(radial)

# %% [markdown]
# The gradient is a block of its own. Its samples start with `sample`: the row of the values
# that is differentiated. Then comes the atom that moves; `xyz` says in which direction.

# %%
block = radial.block(center_type=7, neighbor_type=7)
gradient = block.gradient("positions")
print(block, gradient, gradient.samples, sep="\n\n")
print(gradient.values)

# %% [markdown]
# The square of everything, by hand: `d(x²) = 2 x dx`. The column `sample` finds the `x` of
# each `dx`. An operation does the same for all blocks at once.

# %%
x = block.values[gradient.samples["sample"]]
by_hand = 2 * x[:, None, :] * gradient.values
squared = nablatom.multiply(radial, radial)
assert np.allclose(squared.block(center_type=7).gradient("positions").values, by_hand)
assert nablatom.allclose(squared, radial**2)

# %% [markdown]
# Gradients follow through any number of steps. Moving a whole molecule changes nothing, so
# that the derivatives with respect to its atoms add up to zero.

# %%
total = nablatom.sum_over_samples(squared.keys_to_properties("neighbor_type"), "atom")
for key, block in total.items():
    slopes = nablatom.sum_over_samples(block.gradient("positions"), "atom")
    assert np.allclose(slopes.values, 0)
    print(key, block.gradient("positions").shape)
