"""Einstein summation by names, beside that of NumPy and beside sums written out."""

import numpy as np
import pytest

from maps import tensor
from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.operations import dot, einsum, multiply
from nablatom.operations.products import contract

XYZ, N, K = Labels.range("xyz", 3), Labels("n", [[4], [1]]), Labels.range("k", 4)


def block(seed, components, properties, samples=5):
    shape = (samples, *map(len, components), len(properties))
    values = np.random.default_rng(seed).normal(size=shape)
    return TensorBlock(values, Labels.range("atom", samples), components, properties)


A, B = block(1, [XYZ], N), block(2, [XYZ], K)
MATRIX = TensorBlock(np.arange(8.0).reshape(4, 2), K, [], N)
# expression, operands, the same for numpy, components and properties of the result
ROWS = [
    ("samples xyz n, samples xyz k -> samples n k", (A, B), "sxn,sxk->snk", [], "n k"),
    ("samples xyz n, samples k xyz -> samples k n", (A, B), "sxn,sxk->skn", [], "k n"),
    ("samples xyz n, samples xyz k -> samples k xyz n", (A, B), "sxn,sxk->sxkn", ["xyz"], "k n"),
    (
        "samples xyz n, samples xyz:abc k -> samples abc n xyz k",
        (A, B),
        "sxn,sak->saxnk",
        ["abc", "xyz"],
        "n k",
    ),
    ("samples xyz n, samples xyz k -> samples xyz", (A, B), "sxn,sxk->sx", ["xyz"], "_"),
    ("samples n xyz -> samples n", (A,), "sxn->sn", [], "n"),
    ("samples n xyz, k n -> samples xyz k", (A, MATRIX), "sxn,kn->sxk", ["xyz"], "k"),
    ("k n, samples n xyz -> samples k", (MATRIX, A), "kn,sxn->sk", [], "k"),
    (
        "samples n xyz, k n, samples k xyz -> samples",
        (A, MATRIX, B),
        "sxn,kn,sxk->s",
        [],
        "_",
    ),
    (
        "samples n xyz, samples n:m xyz, samples k xyz -> samples m k n",
        (A, A, B),
        "sxn,sxm,sxk->smkn",
        [],
        "m k n",
    ),
]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_as_numpy(row, library):
    expression, operands, plain, components, properties = row
    result = einsum(expression, *[x.to(arrays=library) for x in operands]).to(arrays="numpy")
    assert [c.names[0] for c in result.components] == components
    assert result.properties.names == properties.split()
    expected = np.einsum(plain, *[x.values for x in operands]).reshape(result.shape)
    np.testing.assert_allclose(result.values, expected, rtol=1e-13, atol=1e-13)


def test_products_are_labelled_by_what_was_multiplied():
    result = einsum("samples xyz n, samples xyz k -> samples k n", A, B)
    for p, entry in enumerate(result.properties):
        n, k = N.position([entry["n"]]), K.position([entry["k"]])
        expected = (A.values[..., n] * B.values[..., k]).sum(axis=1)
        np.testing.assert_allclose(result.values[:, p], expected, rtol=1e-14)


def test_a_trace():
    square = block(3, [XYZ, Labels.range("abc", 3)], N)
    result = einsum("samples xyz:x abc:x n -> samples n", square)
    np.testing.assert_allclose(result.values, np.einsum("sxxn->sn", square.values))


# -- axes that share some of their dimensions ------------------------------------------------

LN = Labels(["l", "n"], [[l, n] for l in (2, 0, 1) for n in range(2)])
NL = Labels(["n", "l"], [[n, l] for n in range(3) for l in (1, 0, 2)])
C, D = block(4, [], LN), block(5, [], NL)


@pytest.mark.parametrize("kept", ["l n k", "k l n", "n k", "l", "k", ""])
def test_only_equal_entries_meet(kept):
    """Every product is made here one by one."""
    expected = {}
    for p, (l, n) in enumerate(LN):
        for q, (k, other) in enumerate(NL):
            name = tuple({"l": l, "n": n, "k": k}[x] for x in kept.split())
            if l == other:
                expected[name] = expected.get(name, 0) + C.values[:, p] * D.values[:, q]
    result = einsum(f"samples l n, samples l n:k -> samples {kept}", C, D)
    if kept:
        assert result.properties.names == kept.split()
        assert [tuple(entry) for entry in result.properties] == sorted(expected)
    else:
        assert result.properties == Labels.single()
    values = np.stack([expected[name] for name in sorted(expected)], axis=1)
    np.testing.assert_allclose(result.values, values, rtol=1e-13, atol=1e-13)


def test_one_matrix_for_all_entries_of_a_dimension():
    weights = TensorBlock(np.arange(6.0).reshape(3, 2), Labels.range("k", 3), [], N2)
    result = einsum("samples l n, k n -> samples l k", C, weights)
    for p, (l, k) in enumerate(result.properties):
        part = C.values[:, np.flatnonzero(LN["l"] == l)]
        np.testing.assert_allclose(result.values[:, p], part @ weights.values[k])


N2 = Labels.range("n", 2)


# -- beside other operations -----------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_multiply_and_dot_are_special_cases(library):
    options = {"components": 1, "library": library}
    a, b = tensor(1, **options), tensor(2, rows=5, **options)
    w = tensor(3, library=library, parameters=())
    operations.allclose_raise(
        einsum("samples o3_mu n, samples o3_mu n -> samples o3_mu n", a, b), multiply(a, b)
    )
    product = einsum("samples o3_mu n, system atom n -> samples o3_mu system atom", a, w)
    operations.allclose_raise(product, dot(a, w))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_no_samples_no_properties(library):
    a, b = block(1, [XYZ], Labels.empty("n"), samples=0), block(2, [XYZ], K, samples=0)
    a, b = a.to(arrays=library), b.to(arrays=library)
    assert einsum("samples xyz n, samples xyz k -> samples n k", a, b).shape == (0, 0)
    assert einsum("samples xyz n, samples xyz n -> samples xyz", a, a).shape == (0, 3, 1)


# -- what cannot be read -------------------------------------------------------------------

ERRORS = {
    "samples n xyz": (1, "operand, operand -> result"),
    "samples n xyz -> samples n -> samples": (1, "operand, operand -> result"),
    "samples n xyz, samples n xyz -> samples": (1, "about 2 operands, got 1"),
    "samples n xyz -> n": (1, "starts with samples; sum_over_samples"),
    "samples n xyz -> ": (1, "starts with samples"),
    "samples n xyz, -> samples": (2, "operand without any names"),
    "samples n n xyz -> samples": (1, "an operand lists 'n' twice"),
    "samples n samples xyz -> samples": (1, "an operand lists 'samples' twice"),
    "samples n! xyz -> samples": (1, "names are words"),
    "samples n: xyz -> samples": (1, "names are words"),
    "samples n xyz -> samples m": (1, "'m' is in the result, but in no operand"),
    "samples n xyz -> samples n n": (1, "a name twice"),
    "samples n -> samples n": (1, "operand 1: its dimension 'xyz' is not named"),
    "samples n xyz m -> samples n": (1, r"no dimension 'm'; it has \['xyz', 'n'\]"),
    "atom n xyz -> samples": (1, "at least one operand must have samples"),
}


@pytest.mark.parametrize("expression", ERRORS)
def test_errors_name_the_expression(expression):
    count, message = ERRORS[expression]
    with pytest.raises(ValueError, match=message) as caught:
        einsum(expression, *[A] * count)
    assert repr(expression) in str(caught.value)


OTHER = TensorBlock(A.values, A.samples, [XYZ], Labels("n", [[1], [4]]))


def test_axes_of_the_same_name_must_be_the_same():
    with pytest.raises(ValueError, match=r"entries of n must be the same.* as in n:other"):
        einsum("samples xyz n, samples xyz n -> samples n", A, OTHER)
    some = operations.slice(D, "properties", Labels("l", [[0], [1]]))
    with pytest.raises(ValueError, match="l=2 is in one operand only; slice"):
        einsum("samples l n, samples l n:k -> samples l n k", C, some)


def test_constants_have_no_gradients():
    a = tensor()
    with pytest.raises(ValueError, match=r"operand 2 .* is a constant, but has gradients"):
        einsum("samples n, system atom n -> samples", a, a)


def test_errors_say_in_which_block():
    a, b = (TensorMap(Labels.range("key", 2), blocks) for blocks in ([A, A], [A, OTHER]))
    with pytest.raises(ValueError, match="entries of n") as caught:
        einsum("samples n xyz, samples n xyz -> samples", a, b)
    assert "in einsum, in the block with (key=1)" in caught.value.__notes__[0]


# -- the products underneath -------------------------------------------------------------------

PRODUCTS = [
    (("ab", "bc"), "ac"),
    (("ab", "bc"), "ca"),
    (("zab", "zbc"), "zac"),
    (("abz", "zcb"), "czab"),
    (("abc", "abc"), "b"),
    (("ab", "cd"), "dbca"),
    (("aab", "bcc"), "ac"),
    (("ab", "cd"), ""),
    (("ab", "bc", "cd", "da"), "ac"),
    (("abc",), "ca"),
]


@pytest.mark.parametrize("lead", [(), (4,), (4, 2)], ids=str)
@pytest.mark.parametrize(("letters", "result"), PRODUCTS)
def test_products(letters, result, lead):
    size = dict(zip("abcdz", (2, 3, 4, 1, 5), strict=True))
    numbers = np.random.default_rng(0)
    x = [numbers.normal(size=(*lead, *[size[c] for c in part])) for part in letters]
    expected = np.einsum(f"{','.join(f'...{part}' for part in letters)}->...{result}", *x)
    np.testing.assert_allclose(contract(letters, result, x), expected, rtol=1e-12, atol=1e-12)
    if lead:  # one of them is the same for all rows
        x[0] = x[0][(0,) * len(lead)]
        expected = np.einsum(f"{','.join(f'...{part}' for part in letters)}->...{result}", *x)
        if len(letters) > 1:
            np.testing.assert_allclose(
                contract(letters, result, x), expected, rtol=1e-12, atol=1e-12
            )
