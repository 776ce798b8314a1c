"""Small maps with everything that makes life hard: sparse, unsorted, empty, negative.

Values and gradients are random numbers; that the ones belong to the others is true by
definition, as every stored gradient row is one direction in which the values can be moved.
"""

import numpy as np

from nablatom import Labels, TensorBlock, TensorMap

# Two keys share each center_type and each neighbor_type, so that both can be moved.
KEYS = Labels(["center_type", "neighbor_type"], [[8, 1], [1, 8], [1, 1], [8, 8]])
SAMPLES = [
    [(1, 0), (0, 1), (0, 0)],
    [(0, 1), (1, 0)],
    [(0, 0), (1, 1), (0, 1), (1, 0)],
    [],
]
PROPERTIES = Labels("n", [[2], [-1], [0]])
COMPONENTS = [Labels("o3_mu", [[0], [-1]]), Labels("side", [[0], [1], [2]])]


def tensor(
    seed=0,
    *,
    library="numpy",
    rows=0,
    components=0,
    parameters=("positions", "strain"),
    nested=False,
    keys=KEYS,
    properties=PROPERTIES,
    share=0.6,
):
    """A map of four blocks; ``rows`` is the seed of the gradient sparsity, ``seed`` of the rest."""
    numbers, pattern = np.random.default_rng(seed), np.random.default_rng(rows)
    axes = COMPONENTS[:components]
    blocks = []
    for entries in SAMPLES[: len(keys)]:
        samples = Labels(["system", "atom"], np.reshape(entries, (-1, 2)).astype(int))
        block = TensorBlock(_values(numbers, samples, axes, properties), samples, axes, properties)
        for parameter in parameters:
            gradient = _gradient(block, parameter, numbers, pattern, share)
            for inner in parameters if nested else ():
                second = _gradient(gradient, inner, numbers, pattern, share, suffix="_second")
                gradient.add_gradient(inner, second)
            block.add_gradient(parameter, gradient)
        blocks.append(block)
    result = TensorMap(keys, blocks).to(arrays=library)
    result.set_info("made of", "random numbers")
    return result


def flat(seed=0, **options):
    """Without components and under one key."""
    return tensor(seed, keys=Labels.single(), **options).block_by_id(0)


def _values(numbers, samples, components, properties):
    """Away from zero, so that they can be divided by and raised to any power."""
    return numbers.uniform(0.5, 1.5, (len(samples), *map(len, components), len(properties)))


def _gradient(block, parameter, numbers, pattern, share, suffix=""):
    """Some of the rows that could be there, in any order."""
    own = [Labels.range("xyz" + suffix, 3)]
    atoms = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    names = ["sample", "system", "atom"]
    if parameter != "positions":  # does not name atoms, like a strain
        own, atoms, names = [own[0], Labels.range("xyz_b" + suffix, 2)], np.zeros((1, 0)), names[:1]
    every = np.array([(i, *atom) for i in range(len(block)) for atom in atoms], int)
    every = every.reshape(-1, len(names))
    kept = pattern.permutation(len(every))[: int(np.ceil(share * len(every)))]
    samples, components = Labels(names, every[kept]), [*own, *block.components]
    values = numbers.normal(size=(len(samples), *map(len, components), len(block.properties)))
    return TensorBlock(values, samples, components, block.properties)
