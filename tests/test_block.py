import copy
import pickle

import numpy as np
import pytest

from maps import flat
from nablatom import Labels, TensorBlock

SAMPLES = Labels(["system", "atom"], [[0, 0], [0, 1]])
MU = Labels.range("o3_mu", 3)
N = Labels.range("n", 4)
XYZ = Labels.range("xyz", 3)
ROWS = Labels(["sample", "atom"], [[0, 1], [1, 0], [1, 1]])


def zeros(*axes):
    return np.zeros([len(labels) for labels in axes])


def block(values=None):
    values = zeros(SAMPLES, MU, N) if values is None else values
    return TensorBlock(values, SAMPLES, [MU], N)


def gradient(samples=ROWS, components=(XYZ, MU), properties=N, values=None):
    values = zeros(samples, *components, properties) if values is None else values
    return TensorBlock(values, samples, list(components), properties)


def two_parameters():
    result = block()
    result.add_gradient("strain", gradient())
    result.add_gradient("positions", gradient())
    return result


ERRORS = {
    "values are a list": (
        lambda: TensorBlock([[0.0]], Labels.single(), [], Labels.single()),
        TypeError,
        "values must be an array .* got list",
    ),
    "samples are a list": (
        lambda: TensorBlock(np.zeros((1, 1)), [0], [], Labels.single()),
        TypeError,
        "samples must be Labels, got list",
    ),
    "components are labels": (
        lambda: TensorBlock(np.zeros((1, 1, 1)), Labels.single(), Labels.single(), Labels.single()),
        TypeError,
        "components must be a list of Labels, .* got Labels",
    ),
    "a component is text": (
        lambda: TensorBlock(np.zeros((1, 1, 1)), Labels.single(), ["m"], Labels.single()),
        TypeError,
        "component 0 must be Labels, got str",
    ),
    "axes": (lambda: block(np.zeros((2, 4))), ValueError, "2 axes, but there are labels for 3"),
    "samples": (
        lambda: block(np.zeros((7, 3, 4))),
        ValueError,
        r"7 entries along samples, but its labels have 2; the whole shape is \(7, 3, 4\)",
    ),
    "components": (lambda: block(np.zeros((2, 7, 4))), ValueError, "along component 0.* have 3"),
    "properties": (lambda: block(np.zeros((2, 3, 7))), ValueError, "along properties.* have 4"),
    "a component of two dimensions": (
        lambda: TensorBlock(zeros(SAMPLES, SAMPLES, N), SAMPLES, [SAMPLES], N),
        ValueError,
        "component 0 must have one dimension",
    ),
    "the same component twice": (
        lambda: TensorBlock(zeros(SAMPLES, MU, MU, N), SAMPLES, [MU, MU], N),
        ValueError,
        "components must have different names",
    ),
    "a gradient twice": (
        lambda: two_parameters().add_gradient("strain", gradient()),
        ValueError,
        "already has a gradient 'strain'",
    ),
    "a gradient that is an array": (
        lambda: block().add_gradient("x", np.zeros(3)),
        TypeError,
        "a gradient is a TensorBlock, got ndarray",
    ),
    "a gradient's name": (lambda: block().add_gradient("d/dx", gradient()), ValueError, "d/dx"),
    "gradient samples": (
        lambda: block().add_gradient("x", gradient(SAMPLES)),
        ValueError,
        "'x': samples must start with 'sample'",
    ),
    "a gradient of a sample beyond": (
        lambda: block().add_gradient("x", gradient(Labels(["sample"], [[2]]))),
        ValueError,
        "rows of the values, from 0 to 1, got 2",
    ),
    "a gradient of a sample before": (
        lambda: block().add_gradient("x", gradient(Labels(["sample"], [[-1]]))),
        ValueError,
        "from 0 to 1, got -1",
    ),
    "gradient components missing": (
        lambda: block().add_gradient("x", gradient(components=[XYZ])),
        ValueError,
        r"end with those of the values, \['o3_mu'\]",
    ),
    "gradient components in the wrong order": (
        lambda: block().add_gradient("x", gradient(components=[MU, XYZ])),
        ValueError,
        r"got \['o3_mu', 'xyz'\]",
    ),
    "gradient properties": (
        lambda: block().add_gradient("x", gradient(properties=Labels.range("n", 5))),
        ValueError,
        "properties must be those of the values",
    ),
    "gradient dtype": (
        lambda: block().add_gradient("x", gradient(values=np.zeros((3, 3, 3, 4), "f4"))),
        ValueError,
        "float64, got ndarray of float32",
    ),
    "no such gradient": (
        lambda: two_parameters().gradient("cell"),
        KeyError,
        "no gradient 'cell'; stored: strain, positions",
    ),
    "no gradient at all": (lambda: block().gradient("cell"), KeyError, "stored: none"),
    "new values": (
        lambda: setattr(block(), "values", np.zeros((2, 3, 4))),
        AttributeError,
        "make a new TensorBlock",
    ),
    "a hash": (lambda: hash(block()), TypeError, "unhashable"),
    "an unknown library": (lambda: block().to(arrays="jaxx"), ValueError, "jaxx"),
    "NumPy on a device": (lambda: block().to(device="cuda"), ValueError, "live on the CPU"),
    "two dtypes": (lambda: block().to(np.float32, np.float64), ValueError, "two dtypes"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


def test_a_gradient_of_another_library_is_refused():
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="ndarray of float64, got Tensor of float64"):
        block().add_gradient("x", gradient().to(arrays="torch"))


def test_what_it_holds():
    values = zeros(SAMPLES, MU, N)
    b = block(values)
    assert b.values is values  # shared, not copied
    assert (b.shape, len(b), b.dtype, b.device) == ((2, 3, 4), 2, np.float64, "cpu")
    assert (b.samples, b.components, b.properties) == (SAMPLES, [MU], N)
    b.components.append(XYZ)
    assert b.components == [MU]
    assert not b.has_any_gradient()


def test_gradients_are_in_the_order_they_were_added():
    b = two_parameters()
    assert b.gradients_list() == ["strain", "positions"] == [name for name, _ in b.gradients()]
    assert b.has_any_gradient()
    assert b.has_gradient("strain")
    assert not b.has_gradient("cell")


def test_one_gradient_block_may_serve_several_blocks():
    """Adding does not move, and names the copy, not the original."""
    shared, a, b = gradient(), block(), block()
    a.add_gradient("x", shared)
    b.add_gradient("y", shared)
    assert a.gradient("x").values is shared.values is b.gradient("y").values
    assert "'x'" in repr(a.gradient("x"))
    assert "'y'" in repr(b.gradient("y"))
    assert repr(shared).startswith("TensorBlock")


def test_empty_axes_are_fine():
    nobody, nothing = Labels.empty(["system", "atom"]), Labels.empty("n")
    b = TensorBlock(zeros(nobody, MU, nothing), nobody, [MU], nothing)
    rows = Labels.empty(["sample", "atom"])
    b.add_gradient("x", TensorBlock(zeros(rows, XYZ, MU, nothing), rows, [XYZ, MU], nothing))
    assert b.shape == (0, 3, 0)


def changes():
    """Blocks that differ from flat() in one thing each."""
    b = flat()
    parts = {"values": b.values, "samples": b.samples, "components": [], "properties": b.properties}
    gradients = dict(b.gradients())
    other = {
        "values": b.values + 1,
        "samples": b.samples.rename("atom", "center"),
        "properties": b.properties.rename("n", "k"),
    }
    for name, value in other.items():
        yield name, TensorBlock.unchecked(**{**parts, name: value}, gradients=gradients)
    yield "gradients", TensorBlock.unchecked(**parts)
    yield "dtype", b.to(np.float32)
    moved = {**gradients, "strain": flat(9).gradient("strain")}
    yield "values of a gradient", TensorBlock.unchecked(**parts, gradients=moved)


@pytest.mark.parametrize(("what", "other"), list(changes()))
def test_blocks_that_differ_are_not_equal(what, other):
    assert flat() != other
    assert other == other.copy()


def test_the_order_of_gradients_does_not_count():
    a, b = flat(), flat()
    again = TensorBlock.unchecked(
        b.values, b.samples, [], b.properties, dict(list(b.gradients())[::-1])
    )
    assert a == again


def test_copies():
    b = flat(nested=True)
    deep = [b.copy(), copy.deepcopy(b), pickle.loads(pickle.dumps(b))]
    shallow = [b.copy(deep=False), copy.copy(b)]
    for again in [*deep, *shallow]:
        assert again == b
    before = b.copy()
    for again in deep:
        again.values[:] = 0
        again.gradient("positions").values[:] = 0
        again.gradient("positions").gradient("strain").values[:] = 0
    assert b == before
    for again in shallow:
        assert again.values is b.values
        assert again.gradient("positions").values is b.gradient("positions").values


def test_unpickled_gradients_keep_their_name():
    again = pickle.loads(pickle.dumps(flat()))
    assert repr(again.gradient("positions")).startswith("Gradient TensorBlock ('positions')")


def test_fill_is_the_share_of_rows_that_are_stored():
    assert two_parameters().fill("strain") == 3 / 4
