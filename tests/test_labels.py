import copy
import gc
import pickle
import resource
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from nablatom import Labels, LabelsEntry, TensorBlock, TensorMap, join, multiply, sum_over_samples

AB = Labels(["a", "b"], [[0, 1], [-3, 4], [2, 2]])
TOP, BOTTOM = 2**31 - 1, -(2**31)

ERRORS = {
    "a digit first": (lambda: Labels(["1a"], [[0]]), ValueError, "'1a' is not a valid name"),
    "a space": (lambda: Labels(["a b"], [[0]]), ValueError, "'a b' is not a valid name"),
    "a newline": (lambda: Labels(["a\n"], [[0]]), ValueError, "is not a valid name"),
    "no text": (lambda: Labels([3], [[0]]), TypeError, r"names must be strings, got 3 \(int\)"),
    "a name twice": (lambda: Labels(["a", "a"], [[0, 1]]), ValueError, "different from each other"),
    "a row twice": (
        lambda: Labels(["a", "b"], [[0, 1], [1, 1], [0, 1]]),
        ValueError,
        r"\(a=0, b=1\) occurs more than once \(the second time at index 2\)",
    ),
    "a row of many twice": (
        lambda: Labels(["a"], [*[[i] for i in range(5000)], [77]]),
        ValueError,
        r"\(a=77\) occurs more than once",
    ),
    "one axis": (lambda: Labels(["a"], [0, 1]), ValueError, r"\(entries, 1\).*got \(2,\)"),
    "columns": (lambda: Labels(["a"], [[0, 1]]), ValueError, r"\(entries, 1\).*got \(1, 2\)"),
    "fractions": (lambda: Labels(["a"], [[0.5]]), TypeError, "must be integers, got float64"),
    "too large": (lambda: Labels(["a"], [[2**31]]), ValueError, "2147483648 does not fit"),
    "too small": (lambda: Labels(["a"], [[-(2**31) - 1]]), ValueError, "-2147483649 does not fit"),
    "unsigned": (
        lambda: Labels(["a"], np.array([[2**63 + 5]], np.uint64)),
        ValueError,
        "9223372036854775813 does not fit",
    ),
    "unsigned 32": (
        lambda: Labels(["a"], np.array([[2**32 - 1]], np.uint32)),
        ValueError,
        "4294967295 does not fit",
    ),
    "range too long": (lambda: Labels.range("a", 2**31), ValueError, "does not fit"),
    "no column": (lambda: AB.column("c"), ValueError, r"no dimension 'c'.*\['a', 'b'\]"),
    "no column by name": (lambda: AB["c"], ValueError, "no dimension 'c'"),
    "no entry": (lambda: AB[3], IndexError, "3"),
    "an entry by fraction": (lambda: AB[0.5], TypeError, "float"),
    "position, too short": (lambda: AB.position([1]), ValueError, "has 1 values"),
    "position, other names": (
        lambda: AB.position(LabelsEntry(["a", "c"], [0, 1])),
        ValueError,
        "does not have the dimensions",
    ),
    "select, other name": (lambda: AB.select(Labels(["c"], [[0]])), ValueError, "no dimension 'c'"),
    "union, other names": (
        lambda: AB.union(Labels(["b", "a"], [[0, 1]])),
        ValueError,
        r"the union of labels needs the same dimensions.*\['a', 'b'\] and \['b', 'a'\]",
    ),
    "intersection": (lambda: AB.intersection(Labels.single()), ValueError, "the intersection"),
    "difference": (lambda: AB.difference(Labels.single()), ValueError, "the difference"),
    "append, too short": (lambda: AB.append("c", [1]), ValueError, r"shape \(3,\).*got \(1,\)"),
    "append, there already": (lambda: AB.append("a", [1, 2, 3]), ValueError, "different"),
    "append, too large": (lambda: AB.append("c", [1, 2, 2**31]), ValueError, "does not fit"),
    "insert, too far": (lambda: AB.insert(3, "c", [1, 2, 3]), IndexError, "index 3"),
    "permute, too few": (lambda: AB.permute([0]), ValueError, "each of the indices 0 to 1 once"),
    "permute, twice": (lambda: AB.permute([0, 0]), ValueError, r"got \[0, 0\]"),
    "remove, not unique": (
        lambda: Labels(["a", "b"], [[0, 1], [0, 2]]).remove("b"),
        ValueError,
        r"\(a=0\) occurs more than once",
    ),
    "remove, the last": (lambda: Labels.single().remove("_"), ValueError, "only dimension"),
    "rename, not there": (lambda: AB.rename("c", "d"), ValueError, "no dimension 'c'"),
    "rename, there already": (lambda: AB.rename("a", "b"), ValueError, "different"),
    "an entry of fractions": (lambda: LabelsEntry(["a"], [0.5]), TypeError, "integers"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"])
def test_any_integers_that_fit(dtype):
    values = np.array([[1, 2], [3, 4]], dtype)
    assert Labels(["a", "b"], values) == Labels(["a", "b"], [[1, 2], [3, 4]])


def test_limits_of_32_bits_survive_everything():
    labels = Labels(["a", "b"], [[TOP, BOTTOM], [BOTTOM, TOP], [TOP, TOP]])
    other = Labels(["a", "b"], [[TOP, TOP], [0, 0]])
    assert labels.position([BOTTOM, TOP]) == 1
    assert labels.position([2**32 + TOP, TOP]) is None
    assert labels.union(other).values.tolist() == [*labels.values.tolist(), [0, 0]]
    assert labels.intersection(other).values.tolist() == [[TOP, TOP]]
    assert labels.order().tolist() == [1, 0, 2]


def test_values_are_a_private_read_only_copy():
    given = np.array([[1], [2]], np.int32)
    labels = Labels(["a"], given)
    given[0] = 7
    assert labels.values[0, 0] == 1
    for values in (labels.values, labels.column("a"), labels["a"]):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 3


def test_any_array_can_be_given():
    torch = pytest.importorskip("torch")
    assert Labels(["a"], torch.tensor([[3], [1]])) == Labels(["a"], [[3], [1]])
    assert Labels("a", np.asfortranarray([[3], [1]])).values.flags.c_contiguous
    assert Labels(["a", "b"], []) == Labels.empty(["a", "b"])


def test_equal_labels_have_equal_hashes():
    again = Labels(["a", "b"], AB.values)
    assert again == AB
    assert hash(again) == hash(AB)
    assert {AB: 1}[again] == 1
    assert len({AB, again, AB.rename("a", "c"), AB.permute([1, 0])}) == 3
    assert AB != "labels"


@pytest.mark.parametrize("labels", [AB, Labels.empty(["a"]), Labels.single()], ids=str)
def test_copies_are_equal(labels):
    for again in (pickle.loads(pickle.dumps(labels)), copy.deepcopy(labels), copy.copy(labels)):
        assert again == labels
        assert hash(again) == hash(labels)
        assert not again.values.flags.writeable


def test_entries_are_named_tuples():
    entry = AB[1]
    assert (entry["a"], entry[1], len(entry), list(entry)) == (-3, 4, 2, [-3, 4])
    assert entry == LabelsEntry(["a", "b"], [-3, 4])
    assert hash(entry) == hash(LabelsEntry(["a", "b"], [-3, 4]))
    assert entry != LabelsEntry(["a", "c"], [-3, 4])
    assert entry != (-3, 4)
    assert str(entry) == "(a=-3, b=4)"
    assert repr(entry) == "LabelsEntry(a=-3, b=4)"
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert entry in AB
    assert AB.position(entry) == 1


@pytest.mark.parametrize("count", [3, 300, 3000])
def test_positions_among_few_and_many(count):
    rows = np.random.default_rng(0).permutation(np.array(list(np.ndindex(count, 2))) - 5)
    labels = Labels(["a", "b"], rows)
    for i in range(0, len(labels), 7):
        assert labels.position(rows[i]) == i
        assert rows[i] in labels
    assert labels.position([count, 0]) is None
    assert labels.position([-5, 0]) is None


def test_unique_rows_of_some_dimensions():
    labels = Labels(["a", "b"], [[3, 0], [-1, 1], [3, 2], [-1, 5]])
    unique, place = labels.unique(["a"])
    assert unique == Labels(["a"], [[-1], [3]])
    np.testing.assert_array_equal(unique.values[place], labels.values[:, :1])
    assert labels.unique([])[0] == Labels.single()


# -- memory ----------------------------------------------------------------------------


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat_over_many_constructions():
    values = np.arange(20_000, dtype=np.int32).reshape(10_000, 2)  # 80 kB

    def construct(times):
        for _ in range(times):
            Labels(["a", "b"], values, assume_unique=True).unique(["a"])

    construct(100)
    before = _resident()
    construct(10_000)
    assert _resident() - before < 8e6  # where a leak of each would be 800 MB


def _block(count):
    samples = Labels(["system", "atom"], [[i // 2, i % 2] for i in range(count)])
    block = TensorBlock(np.ones((count, 1)), samples, [], Labels.range("n", 1))
    rows = Labels(["sample", "atom"], [[i, 0] for i in range(count)])
    block.add_gradient("x", TensorBlock(np.ones((count, 1)), rows, [], block.properties))
    return block


USES = {
    "nothing": lambda a, b: None,
    "multiply": lambda a, b: multiply(a, b),
    "sum_over_samples": lambda a, b: sum_over_samples(a, "atom"),
    "join": lambda a, b: join([a, b], "samples", add_dimension="which"),
    "keys_to_samples": lambda a, b: TensorMap(KEYS, [a, b]).keys_to_samples("k"),
    "keys_to_properties": lambda a, b: TensorMap(KEYS, [a, b]).keys_to_properties("k"),
    "keys_to_properties, same labels": lambda a, b: TensorMap(KEYS, [a, a]).keys_to_properties("k"),
    "keys_to_properties, unsorted": lambda a, b: TensorMap(KEYS, [a, a]).keys_to_properties(
        "k", sort_samples=False
    ),
    "set algebra": lambda a, b: (
        a.samples.union(b.samples),
        a.samples.intersection(b.samples),
        a.samples.difference(b.samples),
        a.samples.union(a.samples),
    ),
    "search": lambda a, b: (a.samples.position([0, 0]), hash(a.samples), a.samples.order()),
}
KEYS = Labels(["k"], [[0], [1]])


@pytest.mark.parametrize("count", [4, 600])
@pytest.mark.parametrize("name", USES)
def test_labels_die_with_their_last_user(name, count):
    """Without the garbage collector's help: what is remembered makes no reference cycles."""
    gc.disable()
    try:
        a, b = _block(count), _block(count + 2 if name == "join" else count)
        USES[name](a, b)
        alive = [weakref.ref(x) for x in (a.samples, b.samples, a.gradient("x").samples)]
        del a, b
        assert [x() for x in alive] == [None, None, None]
    finally:
        gc.enable()


def test_what_is_remembered_dies_with_what_it_was_made_from():
    gc.disable()
    try:
        long_lived = _block(4)
        size = len(long_lived.samples._memo)
        for _ in range(20):
            join([long_lived, _block(6)], "samples", add_dimension="which")
            long_lived.samples.union(_block(8).samples)
        assert len(long_lived.samples._memo) <= size + 4
    finally:
        gc.enable()


def test_nothing_is_printed_by_a_bad_interpreter_exit():
    """Weak references that die while the interpreter shuts down stay silent."""
    code = (
        "from nablatom import Labels\n"
        "a, b = Labels('a', [[0], [1]]), Labels('a', [[1], [2]])\n"
        "a.union(b), b.intersection(a)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")
