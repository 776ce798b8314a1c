"""Maps to write and read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nablatom import Labels, TensorBlock, TensorMap

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def make(dtype: str = "float64", *, nested: bool = True) -> TensorMap:
    """Two blocks of different size, one component, gradients and gradients of gradients."""
    random = np.random.default_rng(7)

    def values(*shape):
        numbers = random.integers(0, 2 if dtype == "bool" else 100, shape)
        return numbers.astype(dtype) if "complex" not in dtype else (numbers * 1j).astype(dtype)

    def block(atoms: int, columns: int) -> TensorBlock:
        n = Labels.range("n", columns)
        mu = Labels("o3_mu", [[-1], [0], [1]])
        xyz = Labels.range("xyz", 3)
        system = np.arange(atoms) // 3
        samples = Labels(["system", "atom"], np.stack([system, np.arange(atoms)], axis=1))
        rows = [[i, i // 3, j] for i in range(atoms) for j in (0, 5)]
        result = TensorBlock(values(atoms, 3, columns), samples, [mu], n)
        gradient = TensorBlock(
            values(len(rows), 3, 3, columns),
            Labels(["sample", "system", "atom"], rows),
            [xyz, mu],
            n,
        )
        if nested:
            second = Labels(["sample", "b"], [[0, 1], [3, 0]])
            axes = [Labels.range("abc", 3), xyz, mu]
            gradient.add_gradient("cell", TensorBlock(values(2, 3, 3, 3, columns), second, axes, n))
        result.add_gradient("positions", gradient)
        strain = TensorBlock(
            values(atoms, 1, 3, columns), samples_of(atoms), [Labels.range("s", 1), mu], n
        )
        result.add_gradient("aaa", strain)
        return result

    def samples_of(atoms: int) -> Labels:
        return Labels.range("sample", atoms)

    tensor = TensorMap(
        Labels(["center_type", "o3_sigma"], [[8, 1], [6, -1]]), [block(7, 4), block(4, 2)]
    )
    tensor.set_info("unit", 'eV "quoted" Å')
    tensor.set_info("author", "nobody")
    return tensor


@pytest.fixture
def make_tensor() -> Callable[..., TensorMap]:
    return make


@pytest.fixture
def tensor() -> TensorMap:
    return make()


@pytest.fixture
def tutorial() -> Path:
    path = DATA / "radial-spectrum.mts"
    if not path.exists():
        pytest.skip("the tutorial files are not here")
    return path
