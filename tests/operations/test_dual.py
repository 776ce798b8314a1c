"""The derivative of every NumPy function that has a rule, by two other routes."""

import math
import operator

import numpy as np
import pytest
import scipy.special
from array_api_compat import array_namespace

from nablatom.arrays import namespace
from nablatom.operations import derivatives
from nablatom.operations.dual import Dual

torch = pytest.importorskip("torch")
# torch says so of itself when it differentiates forwards for the first time
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:DeprecationWarning")


def entries(*shape, low=0.3, high=0.9):
    """Distinct numbers for which every function below is smooth."""
    return np.random.default_rng(len(shape) + sum(shape)).uniform(low, high, shape)


A, B = entries(3, 4), entries(4, 3, low=0.35, high=0.95)[:, ::-1].T.copy()
SQUARE = entries(2, 3, 3) + 2 * np.eye(3)
MASK = np.array([[True, False, True, False]] * 3)

# Functions of one array or two, with the arrays to try them on.
CASES = {
    # operators
    "x + y": (operator.add, A, B),
    "x - y": (operator.sub, A, B),
    "x * y": (operator.mul, A, B),
    "x / y": (operator.truediv, A, B),
    "x ** y": (operator.pow, A, B),
    "x % y": (operator.mod, 5 * A, B),
    "x @ y": (operator.matmul, A, B.T),
    "-x": (operator.neg, A),
    "+x": (operator.pos, A),
    "abs(x)": (lambda x: abs(x - 0.5), A),
    "1 - x": (lambda x: 1 - x, A),
    "2 / x": (lambda x: 2 / x, A),
    "2 ** x": (lambda x: 2**x, A),
    "x ** 3": (lambda x: x**3, A),
    "x ** 0": (lambda x: x**0, A),
    "x ** -1.5": (lambda x: x**-1.5, A),
    "x ** [0 1 2 3]": (lambda x: x ** np.arange(4), A),
    "array * x": (lambda x: B * x, A),
    "array @ x": (lambda x: B.T @ x, A),
    "number[...] * x": (lambda x: np.float64(2) * x, A),
    # broadcasting
    "x (3, 1) + y (4,)": (operator.add, A[:, :1], B[0]),
    "x (3, 4) * y (1,)": (operator.mul, A, B[0, :1]),
    "x (3, 1, 4) ** y (2, 1)": (operator.pow, A[:, None], B[:2, :1]),
    "x () * array": (lambda x: x * B, np.array(0.7)),
    "maximum (3, 1), (4,)": (np.maximum, A[:, :1], B[0]),
    # entry by entry
    "float_power": (np.float_power, A, B),
    "fmod": (np.fmod, -5 * A, B),
    "maximum": (np.maximum, A, B),
    "minimum": (np.minimum, A, B),
    "hypot": (np.hypot, A, B),
    "arctan2": (lambda x, y: np.arctan2(x - 0.5, y - 0.6), A, B),
    "copysign": (lambda x, y: np.copysign(x - 0.5, y - 0.6), A, B),
    "logaddexp": (np.logaddexp, A, B),
    "logaddexp2": (np.logaddexp2, A, B),
    "arccosh": (lambda x: np.arccosh(1 + x), A),
    "sinc": (lambda x: np.sinc(x - 0.5), A),
    "sinc, small": (np.sinc, 0.02 * A),
    "erf": (scipy.special.erf, A),
    "erfc": (scipy.special.erfc, A),
    "expit": (scipy.special.expit, A),
    **{
        name: (getattr(np, name), A)
        for name in (
            *("positive", "negative", "conjugate", "absolute", "fabs", "square", "reciprocal"),
            *("sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
            *("sin", "cos", "tan", "arcsin", "arccos", "arctan"),
            *("sinh", "cosh", "tanh", "arcsinh", "arctanh"),
            *("deg2rad", "radians", "rad2deg", "degrees"),
        )
    },
    # along axes
    "sum": (np.sum, A),
    "sum, axis, keepdims": (lambda x: np.sum(x, 1, keepdims=True), A),
    "sum, some": (lambda x: np.sum(x, axis=0, where=MASK), A),
    "mean": (lambda x: np.mean(x, axis=(0, -1)), SQUARE),
    "cumsum": (lambda x: np.cumsum(x, axis=1), A),
    "trace": (lambda x: np.trace(x, axis1=1, axis2=2), SQUARE),
    "linalg.trace": (np.linalg.trace, SQUARE),
    "diff": (lambda x: np.diff(x, axis=0), A),
    "trapezoid": (lambda x: np.trapezoid(x, np.arange(4) ** 2.0), A),
    "prod": (np.prod, A),
    "prod, axes": (lambda x: np.prod(x, axis=(0, 2), keepdims=True), SQUARE),
    "prod, a zero": (lambda x: np.prod(x, axis=1), A * np.array([1, 0, 1, 1])),
    "prod, two zeros": (lambda x: np.prod(x, axis=1), A * np.array([1, 0, 1, 0])),
    "max": (np.max, A),
    "amax, axis": (lambda x: np.amax(x, axis=1), A),
    "min, axes": (lambda x: np.min(x, axis=(1, 2), keepdims=True), SQUARE),
    "amin": (np.amin, A),
    "ptp": (lambda x: np.ptp(x, axis=1), A),
    "var": (lambda x: np.var(x, axis=1, ddof=1), A),
    "std": (lambda x: np.std(x, axis=0, keepdims=True), A),
    "sort": (lambda x: np.sort(x, axis=0), A),
    "linalg.norm": (np.linalg.norm, A),
    "linalg.norm, ord": (lambda x: np.linalg.norm(x, 2, 1, keepdims=True), A),
    "linalg.norm, matrices": (lambda x: np.linalg.norm(x, axis=(1, 2)), SQUARE),
    "linalg.vector_norm": (lambda x: np.linalg.vector_norm(x, axis=-1), A),
    "linalg.matrix_norm": (np.linalg.matrix_norm, SQUARE),
    # products
    "matmul": (np.matmul, SQUARE, B[:, :3]),
    "linalg.matmul": (np.linalg.matmul, SQUARE, SQUARE[::-1]),
    "vecdot": (np.vecdot, A, B),
    "vecdot, axis": (lambda x, y: np.vecdot(x, y, axis=0), A, B),
    "linalg.vecdot": (np.linalg.vecdot, A, B),
    "dot": (np.dot, A, B.T),
    "inner": (np.inner, A, B),
    "outer": (np.outer, A[0], B[0]),
    "linalg.outer": (np.linalg.outer, A[0], B[0]),
    "vdot": (np.vdot, A, B),
    "kron": (np.kron, A, B),
    "cross": (np.cross, A[:, :3], B[:, :3]),
    "linalg.cross": (np.linalg.cross, A[:, :3], B[:, :3]),
    "tensordot": (lambda x, y: np.tensordot(x, y, axes=((0, 1), (0, 1))), A, B),
    "linalg.tensordot": (lambda x, y: np.linalg.tensordot(x, y, axes=1), A, B.T),
    "einsum": (lambda x, y: np.einsum("ij,kj->ik", x, y), A, B),
    "einsum, thrice": (lambda x, y: np.einsum("ij,ij,ij->j", x, y, x, optimize=True), A, B),
    "einsum, by numbers": (lambda x, y: np.einsum(x, [0, 1], y, [0, 1], [1]), A, B),
    "linalg.inv": (np.linalg.inv, SQUARE),
    "linalg.det": (np.linalg.det, SQUARE),
    "linalg.solve": (np.linalg.solve, SQUARE, entries(2, 3, 4)),
    "linalg.solve, one vector": (np.linalg.solve, SQUARE, A[:, 0]),
    "linalg.solve, right side": (lambda y: np.linalg.solve(SQUARE, y), entries(2, 3, 4)),
    # pieces
    "where": (lambda x, y: np.where(x > y, x, y), A, B),
    "where, number": (lambda x: np.where(x > 0.6, x * x, 0.0), A),
    "clip": (lambda x: np.clip(x, 0.5, 0.7), A),
    "clip, by names": (lambda x: np.clip(x, max=0.7), A),
    "clip, bounds": (lambda x, y: np.clip(x, y[:, :1], y[:, :1] + 0.2), A, B),
    "select": (lambda x, y: np.select([x > y, x > 0.5], [x, y], 2 * x), A, B),
    "round": (lambda x: x * np.round(3 * x) + np.floor(2 * x) * np.sign(x - 0.5), A),
    "full_like": (lambda x: np.full_like(x, x[0, 0]) * x, A),
    # shapes and parts
    "reshape": (lambda x: np.reshape(x, (2, -1)), A),
    "ravel": (np.ravel, A),
    "transpose": (lambda x: np.transpose(x, (2, 0, 1)), SQUARE),
    "swapaxes": (lambda x: np.swapaxes(x, 0, 2), SQUARE),
    "moveaxis": (lambda x: np.moveaxis(x, 0, -1), SQUARE),
    "rollaxis": (lambda x: np.rollaxis(x, 2), SQUARE),
    "expand_dims": (lambda x: np.expand_dims(x, (0, 2)), A),
    "squeeze": (lambda x: np.squeeze(x[:, None]), A),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 3, 4)), A),
    "broadcast_arrays": (lambda x, y: np.multiply(*np.broadcast_arrays(x, y)), A[:, :1], B[0]),
    "copy": (np.copy, A),
    "real": (np.real, A),
    "astype": (lambda x: x.astype(np.float64, copy=False), A),
    "flip": (lambda x: np.flip(x, 1), A),
    "fliplr, flipud": (lambda x: np.fliplr(x) * np.flipud(x), A),
    "roll": (lambda x: np.roll(x, 1, axis=1), A),
    "rot90": (np.rot90, A),
    "repeat": (lambda x: np.repeat(x, 2, axis=0), A),
    "tile": (lambda x: np.tile(x, (2, 1)), A),
    "delete": (lambda x: np.delete(x, 1, axis=1), A),
    "take": (lambda x: np.take(x, [2, 0, 0], axis=1), A),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.array([[1], [0], [2]]), axis=1), A),
    "diagonal": (lambda x: np.diagonal(x, axis1=1, axis2=2), SQUARE),
    "linalg.diagonal": (np.linalg.diagonal, SQUARE),
    "diag": (lambda x: np.diag(x[0]), A),
    "tril, triu": (lambda x: np.tril(x) + 2 * np.triu(x), A),
    "matrix_transpose": (np.matrix_transpose, SQUARE),
    "linalg.matrix_transpose": (np.linalg.matrix_transpose, SQUARE),
    "atleast": (lambda x: np.atleast_1d(x) + np.atleast_2d(x) + np.atleast_3d(x[0])[..., 0], A),
    "split": (lambda x: operator.mul(*np.split(x, 2, axis=1)), A),
    "array_split": (lambda x: operator.mul(*np.array_split(x, [2], axis=1)), A),
    "concatenate": (lambda x, y: np.concatenate([x, 2 * A, y], axis=1), A, B),
    "stack": (lambda x, y: np.stack((x, y, A), axis=-1), A, B),
    "hstack, vstack": (lambda x, y: np.hstack([x, y]) * np.vstack([y, x])[1, 2], A, B),
    "dstack": (lambda x, y: np.dstack([x, y]), A, B),
    "column_stack": (lambda x, y: np.column_stack([x[:, 0], y]), A, B),
    "x[1]": (lambda x: x[1], A),
    "x[..., None, 1:3]": (lambda x: x[..., None, 1:3], A),
    "x[mask]": (lambda x: x[x > 0.6], A),
    "x[[2, 0, 2], [1, 1, 3]]": (lambda x: x[[2, 0, 2], [1, 1, 3]], A),
    "for row in x": (lambda x: sum(row * i for i, row in enumerate(x)), A),
    # attributes and methods
    "x.T, x.mT": (lambda x: x.T @ x + x.mT @ x, A),
    "methods": (lambda x: x.reshape(2, 6).transpose(1, 0).sum(axis=0) + x.mean(), A),
    "methods, more": (lambda x: (x.ravel() * x.flatten()).clip(0.1, 0.5).max() - x.min(), A),
    "x.dot": (lambda x: x.transpose().dot(x).trace() + x.prod() + x.var() * x.std(), A),
}
if hasattr(np, "cumulative_sum"):
    CASES["cumulative_sum"] = (lambda x: np.cumulative_sum(x, axis=1, include_initial=True), A)
if hasattr(np, "astype"):
    CASES["np.astype"] = (lambda x: np.astype(x, np.float64), A)
for _name in ("matvec", "vecmat"):
    if hasattr(np, _name):
        _pair = (SQUARE, A[:, 0]) if _name == "matvec" else (A[:, 0], SQUARE)
        CASES[_name] = (getattr(np, _name), *_pair)
if hasattr(np, "unstack"):
    CASES["unstack"] = (lambda x: sum(i * part for i, part in enumerate(np.unstack(x))), A)


def directions(arrays, count=2):
    numbers = np.random.default_rng(7)
    return [[numbers.normal(size=x.shape) for x in arrays] for _ in range(count)]


def followed(function, arrays, along):
    columns = zip(*along, strict=True)
    return function(*[Dual(x, dx) for x, dx in zip(arrays, columns, strict=True)])


def differences(function, arrays, dx, step=1e-4):
    """Central differences of fourth order."""
    at = [function(*[x + h * step * d for x, d in zip(arrays, dx, strict=True)]) for h in _STEPS]
    return sum(weight * np.asarray(f) for weight, f in zip(_WEIGHTS, at, strict=True)) / step


_STEPS, _WEIGHTS = (-2, -1, 1, 2), (1 / 12, -2 / 3, 2 / 3, -1 / 12)


@pytest.mark.parametrize("name", CASES)
def test_rules_match_finite_differences(name):
    function, *arrays = CASES[name]
    along = directions(arrays)
    result = followed(function, arrays, along)
    np.testing.assert_allclose(result.value, function(*arrays), rtol=1e-14)
    for tangent, dx in zip(result.tangents, along, strict=True):
        assert tangent.shape == result.shape
        # rounding errors of differences: 1e-16 / 1e-4 for numbers of size 10
        np.testing.assert_allclose(tangent, differences(function, arrays, dx), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name]) == 3])
@pytest.mark.parametrize("constant", [0, 1])
def test_arguments_without_derivative(name, constant):
    """An ordinary array is the same as a Dual with zeros for tangents."""
    function, *arrays = CASES[name]
    along = directions(arrays)
    for dx in along:
        dx[constant] = np.zeros_like(arrays[constant])
    expected = followed(function, arrays, along)
    mixed = [Dual(x, [dx[i] for dx in along]) for i, x in enumerate(arrays)]
    mixed[constant] = arrays[constant]
    result = function(*mixed)
    np.testing.assert_array_equal(result.value, expected.value)
    np.testing.assert_allclose(result.tangents, expected.tangents, rtol=1e-14, atol=1e-14)


# Where torch calls an elementwise function by another name.
IN_TORCH = {"absolute": "abs", "conjugate": "conj", "fabs": "abs", "expit": "sigmoid"}
SHARED = [
    name
    for name, (function, *_) in CASES.items()
    if isinstance(function, np.ufunc) and hasattr(torch, IN_TORCH.get(name, name))
]


@pytest.mark.parametrize("name", SHARED)
def test_rules_match_torch(name):
    function, *arrays = CASES[name]
    theirs = getattr(torch, IN_TORCH.get(name, name))
    along = directions(arrays)
    result = followed(function, arrays, along)
    for tangent, dx in zip(result.tangents, along, strict=True):
        x, v = (tuple(map(torch.tensor, each)) for each in (arrays, dx))
        np.testing.assert_allclose(tangent, torch.func.jvp(theirs, x, v)[1], rtol=1e-12)


# At kinks and ties we take the same side as torch.
KINKS = {
    "abs": (np.absolute, torch.abs, [0.0, -0.0, -2.0]),
    "clip": (lambda x: np.clip(x, -1, 1), lambda x: torch.clip(x, -1, 1), [-1.0, 1.0, 2.0]),
    "max": (np.max, torch.amax, [2.0, 2.0, 1.0]),
    "maximum": (lambda x: np.maximum(x, 0.0), lambda x: torch.maximum(x, 0 * x), [0.0, 1.0, -1.0]),
    "hypot": (lambda x: np.hypot(x, 0.0), None, [0.0, 0.0, 0.0]),
    "norm": (np.linalg.norm, torch.linalg.norm, [0.0, 0.0, 0.0]),
    "power": (lambda x: x ** np.array([0, 1, 2]), None, [0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name):
    ours, theirs, numbers = KINKS[name]
    dx = np.array([1.0, 2.0, 4.0])
    (tangent,) = ours(Dual(np.array(numbers), [dx])).tangents
    assert np.all(np.isfinite(tangent))
    if theirs is not None:
        x, v = torch.tensor(numbers, dtype=torch.float64), torch.tensor(dx)
        expected = torch.func.jvp(theirs, (x,), (v,))[1]
        np.testing.assert_allclose(tangent, expected, rtol=1e-7, atol=1e-10)


def test_sinc_keeps_its_digits_near_zero():
    """Against the Taylor series, where the closed form would subtract equal numbers."""
    x = np.array([0.0, 1e-9, 1e-5, 1e-3, 0.0101])
    (slope,) = np.sinc(Dual(x, [np.ones_like(x)])).tangents
    u = (np.pi * x) ** 2
    series = -(np.pi**2) * x / 3 * (1 - u / 10 + u**2 / 280 - u**3 / 15120)
    np.testing.assert_allclose(slope, series, rtol=1e-11)


def test_every_rule_is_tested(monkeypatch):
    """Every entry of the tables is used by one of the cases above."""
    tables = ("SLOPES", "LINEAR", "MULTILINEAR", "REDUCTIONS", "JACOBIANS", "COMPOSED", "SPECIAL")
    used = set()
    original = derivatives.__dict__.copy()
    follow = Dual.__array_function__

    def function_called(self, function, *rest):
        used.add(function)
        return follow(self, function, *rest)

    ufunc_called = Dual.__array_ufunc__

    def ufunc_seen(self, ufunc, *rest, **options):
        used.add(ufunc.__name__ if ufunc.__name__ in original["SPECIAL"] else ufunc)
        return ufunc_called(self, ufunc, *rest, **options)

    monkeypatch.setattr(Dual, "__array_function__", function_called)
    monkeypatch.setattr(Dual, "__array_ufunc__", ufunc_seen)
    for function, *arrays in CASES.values():
        followed(function, arrays, directions(arrays))
    assert {rule for table in tables for rule in original[table]} - used == set()


def test_constants_are_ordinary_arrays():
    x = Dual(A, [np.ones_like(A)])
    for result in (x > 0.5, x == x, np.argsort(x), np.isfinite(x), np.zeros_like(x), np.sign(x)):
        assert type(result) is np.ndarray
    assert np.allclose(x, A)
    assert x.argmax() == A.argmax()
    assert np.shape(x) == x.shape == A.shape
    assert (x.ndim, x.size, x.dtype, len(x), x.device) == (2, 12, A.dtype, 3, "cpu")
    assert namespace(x) is np is array_namespace(x)
    assert np.where(x > 0.5)[0].tolist() == np.where(A > 0.5)[0].tolist()


def fill(x):
    out = np.zeros(x.shape)
    out[:] = x
    return out


def add_in_place(x):
    x += 1
    return x


def divide_in_place(x):
    x //= 2
    return x


def write_into(x):
    x[0] = 0
    return x


def add_into_array(x):
    out = np.zeros(x.shape)
    out += x
    return out


LOST = {
    "asarray": np.asarray,
    "array of rows": lambda x: np.array([x[0], x[1]]),
    "array of objects": lambda x: np.array([x], dtype=object),
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "complex": lambda x: complex(x[0, 0]),
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "math": lambda x: math.exp(x[0, 0]),
    "index": lambda x: np.arange(9)[x[0, 0]],
    "filling an array": fill,
    "x += 1": add_in_place,
    "x //= 2": divide_in_place,
    "x[0] = 0": write_into,
    "array += x": add_into_array,
    "np.full": lambda x: np.full(3, x[0, 0]),
    "out=": lambda x: np.exp(x, out=np.zeros(x.shape)),
    "sum, out": lambda x: np.sum(x, 0, None, np.zeros(4)),
    "dot, out": lambda x: np.dot(x, A.T, np.zeros((3, 3))),
    "max, out": lambda x: np.max(x, 0, np.zeros(4)),
    "concatenate, out": lambda x: np.concatenate([x, x], 0, np.zeros((6, 4))),
    "where=": lambda x: np.exp(x, where=MASK),
    "sum, initial": lambda x: np.sum(x, initial=1.0),
    "diff, append": lambda x: np.diff(x, append=x),
    "add.reduce": np.add.reduce,
    "add.at": lambda x: np.add.at(np.zeros((3, 4)), 0, x),
    "trapezoid by x": lambda x: np.trapezoid(A, x),
    "Dual inside a list": lambda x: np.add(x[0, :2], [x[0, 0], 1.0]),
    "complex result": lambda x: x * 1j,
    "integers": lambda x: x.astype(int),
    "no rule": np.median,
    "no rule for a ufunc": scipy.special.gamma,
    "norm, 1": lambda x: np.linalg.norm(x, 1, axis=1),
    "norm, spectral": lambda x: np.linalg.norm(x, 2),
    "matrix_norm, nuclear": lambda x: np.linalg.matrix_norm(x, ord="nuc"),
    "vector_norm, 3": lambda x: np.linalg.vector_norm(x, ord=3),
    "by name": lambda x: np.sum(a=x),
    "vectorize": lambda x: np.vectorize(lambda y: y * y)(x),
}


@pytest.mark.parametrize("name", LOST)
def test_what_would_lose_the_derivative_is_refused(name):
    with pytest.raises((TypeError, IndexError)):
        LOST[name](Dual(A, [np.ones_like(A)]))


def test_messages_say_what_to_do():
    x = Dual(A, [np.ones_like(A)])
    with pytest.raises(TypeError, match=r"np\.median is not known; write it with functions"):
        np.median(x)
    with pytest.raises(TypeError, match=r"np\.linalg\.pinv is not known"):
        np.linalg.pinv(x)
    with pytest.raises(TypeError, match=r"np\.add\.reduce is not known"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match=r"np\.exp with the option 'where' is not known"):
        np.exp(x, where=MASK)
    with pytest.raises(TypeError, match=r"np\.max with these arguments .*'initial'"):
        np.max(x, initial=3.0)
    with pytest.raises(TypeError, match=r"write x = x \+ y for x \+= y"):
        add_in_place(x)
    with pytest.raises(TypeError, match=r"such as np\.exp for math\.exp"):
        math.exp(x[0, 0])
    with pytest.raises(TypeError, match=r"use np\.stack"):
        fill(x)
    with pytest.raises(ValueError, match=r"same directions, got \[1, 2\]"):
        x + Dual(A, [A, A])


def test_single_precision_stays():
    x = Dual(A.astype(np.float32), [np.ones_like(A)])
    for result in (x * 2.0, np.maximum(x, 0.5), np.exp(x) ** 1.5, np.where(x > 0.5, x, 0.0), x / A):
        assert result.tangents[0].dtype == result.dtype
    assert (np.exp(x) * 2.0 + x**2).dtype == np.float32
