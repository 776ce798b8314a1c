"""Maps of spherical tensors, and how they rotate."""

import numpy as np

from nablatom import Labels, TensorBlock, TensorMap

KEYS = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [1, 1], [0, -1], [2, 1]])
PROPERTIES = Labels("n", [[2], [-1], [0], [5]])


def harmonics(l, r):
    """Real harmonics of order 0, 1 or 2 up to a factor, m from -l to l, at points ``(n, 3)``."""
    x, y, z = r.T
    if l == 0:
        return np.ones((len(r), 1))
    if l == 1:
        return np.stack([y, z, x], axis=1)
    third = np.sqrt(1 / 3)
    polynomials = [x * y, y * z, third * (2 * z * z - x * x - y * y) / 2, x * z]
    return np.stack([*polynomials, (x * x - y * y) / 2], axis=1)


def wigner(l, rotation):
    """``D`` with ``Y(R r) = D Y(r)``."""
    r = np.random.default_rng(l).normal(size=(50, 3))
    return np.linalg.lstsq(harmonics(l, r), harmonics(l, r @ rotation.T), rcond=None)[0].T


def rotation(seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def spherical(seed=0, *, keys=KEYS, properties=PROPERTIES, parameters=("positions",), samples=3):
    """Random numbers with the components that the keys ask for; every other row has gradients."""
    numbers = np.random.default_rng(seed)
    blocks = []
    for key in keys:
        mu = Labels("o3_mu", np.arange(-key["o3_lambda"], key["o3_lambda"] + 1)[:, None])
        atoms = Labels(["system", "atom"], [[0, i] for i in range(samples)])
        values = numbers.normal(size=(samples, len(mu), len(properties)))
        block = TensorBlock(values, atoms, [mu], properties)
        for parameter in parameters:
            rows = Labels(
                ["sample", "system", "atom"],
                [[i, 0, j] for i in range(samples) for j in range(samples) if (i + j) % 2 == 0],
            )
            shape = (len(rows), 3, len(mu), len(properties))
            xyz = Labels.range("xyz", 3)
            block.add_gradient(
                parameter, TensorBlock(numbers.normal(size=shape), rows, [xyz, mu], properties)
            )
        blocks.append(block)
    return TensorMap(keys, blocks).to(arrays="torch")


def rotated(tensor, R):
    """The components turned; not the axes of gradients, which are just directions here."""
    blocks = []
    for key, block in tensor.items():
        D = block.values.new_tensor(wigner(key["o3_lambda"], R))
        result = TensorBlock(D @ block.values, block.samples, block.components, block.properties)
        for name, g in block.gradients():
            gradient = TensorBlock(D @ g.values, g.samples, g.components, g.properties)
            result.add_gradient(name, gradient)
        blocks.append(result)
    return TensorMap(tensor.keys, blocks)
