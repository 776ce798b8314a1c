"""Tensor products: coefficients beside sympy and quadrature, products under rotations."""

from itertools import product

import numpy as np
import pytest
from ase.build import molecule

from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.descriptors.harmonics import spherical_harmonics
from nablatom.operations import tensor_product
from nablatom.operations.coupling import _complex, clebsch_gordan
from soap import expansion, power_spectrum

TRIPLES = [
    (l1, l2, l) for l1, l2 in product(range(4), repeat=2) for l in range(abs(l1 - l2), l1 + l2 + 1)
]


def harmonics(directions, l):
    directions = np.asarray(directions, float)
    return spherical_harmonics(directions, l)[0][:, l**2 : (l + 1) ** 2]


def rotation(seed):
    """A random rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


def wigner(matrix, l):
    """``D`` with ``Y(R u) = D Y(u)``, from the harmonics in many directions."""
    u = np.random.default_rng(0).normal(size=(8 * (l + 1) ** 2, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    solution = np.linalg.lstsq(harmonics(u, l), harmonics(u @ matrix.T, l))[0]
    return solution.T


# -- coefficients ----------------------------------------------------------------------------


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (1, 1), (2, 1), (3, 2), (5, 4)])
def test_coefficients_are_an_orthogonal_matrix(l1, l2):
    parts = [clebsch_gordan(l1, l2, l) for l in range(abs(l1 - l2), l1 + l2 + 1)]
    matrix = np.concatenate(parts, axis=2).reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=1e-14)


@pytest.mark.parametrize(("l1", "l2", "l"), TRIPLES)
def test_coefficients_are_invariant_under_rotations(l1, l2, l):
    matrix = rotation(1)
    d1, d2, d = (wigner(matrix, x) for x in (l1, l2, l))
    coefficients = clebsch_gordan(l1, l2, l)
    turned = np.einsum("abc,xa,yb,zc->xyz", coefficients, d1, d2, d)
    np.testing.assert_allclose(turned, coefficients, atol=1e-12)


@pytest.mark.parametrize(("l1", "l2", "l"), [(1, 1, 2), (2, 2, 3), (3, 2, 1), (6, 5, 4)])
def test_complex_coefficients_are_those_of_sympy(l1, l2, l):
    wigner_3j = pytest.importorskip("sympy.physics.wigner")
    for m1, m2 in product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= l:
            expected = float(wigner_3j.clebsch_gordan(l1, l2, l, m1, m2, m1 + m2))
            assert _complex(l1, m1, l2, m2, l) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("l1", "l2"), [(1, 1), (2, 1), (3, 3)])
def test_products_of_harmonics_are_harmonics(l1, l2):
    """``C Y Y = sqrt((2 l1 + 1)(2 l2 + 1) / 4π(2λ + 1)) <l1 0 l2 0|λ 0> Y``, zero if odd."""
    u = np.random.default_rng(2).normal(size=(20, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for l in range(abs(l1 - l2), l1 + l2 + 1):
        coupled = np.einsum(
            "abc,sa,sb->sc", clebsch_gordan(l1, l2, l), harmonics(u, l1), harmonics(u, l2)
        )
        size = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) / (4 * np.pi * (2 * l + 1)))
        expected = size * _complex(l1, 0, l2, 0, l) * harmonics(u, l)
        np.testing.assert_allclose(coupled, expected, atol=1e-14)


def test_high_degrees_stay_exact():
    part = clebsch_gordan(12, 11, 10).reshape(-1, 21)
    np.testing.assert_allclose(part.T @ part, np.eye(21), atol=1e-14)


def test_degrees_that_do_not_couple():
    for l1, l2, l in ((1, 1, 3), (2, 0, 1), (-1, 0, 1)):
        with pytest.raises(ValueError, match="couple to degrees from"):
            clebsch_gordan(l1, l2, l)


def test_coefficients_cannot_be_overwritten():
    with pytest.raises(ValueError, match="read-only"):
        clebsch_gordan(1, 1, 0)[...] = 0


# -- products of maps ------------------------------------------------------------------------


def degrees(seed, keys, n="n", samples=4, turned=None, improper=1):
    """Random spherical tensors, or the same in a coordinate system that is turned."""
    numbers = np.random.default_rng(seed)
    blocks = []
    for l, sigma in keys:
        mu = Labels("o3_mu", np.arange(-l, l + 1)[:, None])
        values = numbers.normal(size=(samples, 2 * l + 1, 2))
        if turned is not None:
            d = wigner(turned, l) * (sigma * (-1) ** l if improper < 0 else 1)
            values = np.einsum("ab,sbn->san", d, values)
        blocks.append(
            TensorBlock(values, Labels.range("atom", samples), [mu], Labels(n, [[0], [5]]))
        )
    return TensorMap(Labels(["o3_lambda", "o3_sigma"], keys), blocks)


LEFT, RIGHT = [(0, 1), (1, 1), (2, -1), (3, 1)], [(1, 1), (1, -1), (2, 1)]


@pytest.mark.parametrize("improper", [1, -1], ids=["proper", "improper"])
def test_products_turn_as_their_keys_say(improper):
    """An inversion gives every block the factor ``σ (-1)^λ``."""
    matrix = rotation(3)
    here = tensor_product(degrees(1, LEFT), degrees(2, RIGHT, "k"))
    there = tensor_product(
        degrees(1, LEFT, turned=matrix, improper=improper),
        degrees(2, RIGHT, "k", turned=matrix, improper=improper),
    )
    assert set(map(tuple, here.keys)) == {(l, s) for l in range(6) for s in (1, -1)} - {(5, -1)}
    for key, block in here.items():
        l, sigma = key
        d = wigner(matrix, l) * (sigma * (-1) ** l if improper < 0 else 1)
        expected = np.einsum("ab,sbn->san", d, block.values)
        np.testing.assert_allclose(there.block(key).values, expected, atol=1e-11)


def test_every_product_is_labelled():
    a, b = degrees(1, LEFT), degrees(2, RIGHT)
    result = tensor_product(a, b)
    assert result.block_by_id(0).properties.names == [
        "o3_lambda_1",
        "o3_sigma_1",
        "o3_lambda_2",
        "o3_sigma_2",
        "n_1",
        "n_2",
    ]
    seen = 0
    for (l, sigma), block in result.items():
        for p, (l1, s1, l2, s2, n1, n2) in enumerate(block.properties):
            assert sigma == s1 * s2 * (-1) ** (l1 + l2 + l)
            x = a.block(o3_lambda=l1, o3_sigma=s1)
            y = b.block(o3_lambda=l2, o3_sigma=s2)
            expected = np.einsum(
                "abc,sa,sb->sc",
                clebsch_gordan(l1, l2, l),
                x.values[..., x.properties.position([n1])],
                y.values[..., y.properties.position([n2])],
            )
            np.testing.assert_allclose(block.values[..., p], expected, atol=1e-13)
            seen += 1
    pairs = product(LEFT, RIGHT)
    assert seen == 4 * sum(2 * min(l1, l2) + 1 for (l1, _), (l2, _) in pairs)


def test_vectors_give_their_scalar_and_cross_product():
    a, b = (degrees(seed, [(1, 1)]) for seed in (1, 2))
    result = tensor_product(a, b)
    order = [1, 2, 0]  # x, y, z among y, z, x
    x, y = (np.moveaxis(t.block().values, 1, -1)[..., [2, 0, 1]] for t in (a, b))
    x, y = x[:, :, None], y[:, None, :]
    scalar = -(x * y).sum(-1) / np.sqrt(3)
    np.testing.assert_allclose(result.block(o3_lambda=0).values[:, 0], scalar.reshape(4, 4))
    cross = np.cross(x, y)[..., order] / np.sqrt(2)
    expected = np.moveaxis(cross.reshape(4, 4, 3), -1, 1)
    np.testing.assert_allclose(result.block(o3_lambda=1).values, expected, atol=1e-14)


def test_selected_keys_are_all_that_is_made():
    a, b = degrees(1, LEFT), degrees(2, RIGHT)
    whole, selection = tensor_product(a, b), Labels("o3_lambda", [[1], [4]])
    result = tensor_product(a, b, selected_keys=selection)
    assert result.keys == Labels(["o3_lambda", "o3_sigma"], [[1, -1], [1, 1], [4, -1], [4, 1]])
    for key, block in result.items():
        assert block == whole.block(key)
    assert len(tensor_product(a, b, selected_keys=Labels("o3_lambda", [[9]]))) == 0


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_samples_that_one_map_lacks_count_as_zero(library):
    a, b = degrees(1, LEFT), degrees(2, RIGHT)
    some = operations.slice(b, "samples", [3, 1]).to(arrays=library)
    whole, result = tensor_product(a, b), tensor_product(a.to(arrays=library), some)
    for key, block in result.to(arrays="numpy").items():
        assert block.samples == Labels("atom", [[1], [3]])
        np.testing.assert_allclose(block.values, whole.block(key).values[[1, 3]], atol=1e-14)


def test_other_keys_are_matched_and_kept():
    names = ["center_type", "o3_lambda", "o3_sigma", "neighbor_type"]
    a = TensorMap(
        Labels(names[:3], [[1, 0, 1], [8, 1, 1], [6, 1, 1]]),
        degrees(1, [(0, 1), (1, 1), (1, -1)]).blocks(),
    )
    b = TensorMap(
        Labels(names[1:] + names[:1], [[1, 1, 7, 8], [1, 1, 9, 8], [0, 1, 7, 1]]),
        degrees(2, [(1, 1), (1, -1), (0, 1)]).blocks(),
    )
    result = tensor_product(a, b)
    assert result.keys == Labels(
        names, [[1, 0, 1, 7], *[[8, l, (-1) ** l, n] for l in range(3) for n in (7, 9)]]
    )


def test_three_vectors_need_other_names_the_second_time():
    a, b, c = (degrees(seed, [(1, 1)]) for seed in (1, 2, 3))
    first = tensor_product(a, b)
    with pytest.raises(ValueError, match=r"several properties called \['o3_lambda_1'"):
        tensor_product(first, c)
    triple = tensor_product(
        first, c, suffixes=("_12", "_3"), selected_keys=Labels("o3_lambda", [[0]])
    )
    block = triple.block()
    assert block.properties.names[-3:] == ["n_1", "n_2", "n"]
    x, y, z = (np.moveaxis(t.block().values, 1, -1)[..., [2, 0, 1]] for t in (a, b, c))
    volume = (np.cross(x[:, :, None], y[:, None])[:, :, :, None] * z[:, None, None]).sum(-1)
    np.testing.assert_allclose(block.values[:, 0], -volume.reshape(4, 8) / np.sqrt(6), atol=1e-14)


def test_invariants_of_a_density_are_its_power_spectrum():
    atoms = molecule("CH3OH")
    settings = {"cutoff": 3.0, "max_radial": 2, "max_angular": 3}
    spectrum = power_spectrum(**settings, radial=False)([atoms])
    density = expansion(**settings)([atoms]).keys_to_properties("neighbor_type")
    invariants = tensor_product(
        density, density, selected_keys=Labels(["o3_lambda", "o3_sigma"], [[0, 1]])
    )
    for (center, first, second), block in spectrum.items():
        products = invariants.block(center_type=center)
        rows = [products.samples.position(entry) for entry in block.samples]
        for p, (l, n1, n2) in enumerate(block.properties):
            at = products.properties.position([l, 1, l, 1, first, n1, second, n2])
            twice = 1 if (first, n1) == (second, n2) else np.sqrt(2)  # it is there once, not twice
            expected = twice * products.values[rows, 0, at]
            np.testing.assert_allclose(block.values[:, p], expected, atol=1e-13)


def test_errors_say_what_is_wrong():
    a = degrees(1, LEFT)
    block = a.block_by_id(1)
    with pytest.raises(TypeError, match=r"takes two TensorMaps.* got TensorBlock"):
        tensor_product(block, a)
    with pytest.raises(ValueError, match="needs the key dimension 'o3_lambda', got"):
        tensor_product(TensorMap(Labels.single(), [block]), a)
    wrong = TensorMap(Labels(["o3_lambda", "o3_sigma"], [[2, 1]]), [block])
    with pytest.raises(ValueError, match="one component 'o3_mu' from -2 to 2") as caught:
        tensor_product(a, wrong)
    assert "in tensor_product, in the block with" in caught.value.__notes__[0]
    strange = TensorMap(Labels(["o3_lambda", "o3_sigma"], [[1, 0]]), [block])
    with pytest.raises(ValueError, match=r"o3_sigma must be 1 or -1, got \[0\]"):
        tensor_product(a, strange)
