"""Graph modules say what they read and write, and are refused where they do not fit."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("e3nn")

from nablatom.models import AtomicDataDict, GraphModuleMixin, SequentialGraphNetwork  # noqa: E402
from nablatom.models.irreps import Irreps, irreps_of  # noqa: E402


class Step(GraphModuleMixin, torch.nn.Module):
    """Reads and writes what it is told, and adds one to what it writes."""

    def __init__(self, irreps_in=None, reads=None, needs=None, writes=None, **attributes):
        super().__init__()
        self._init_irreps(irreps_in, reads, needs, writes)
        self.writes = list(writes or {})
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, data):
        return {**data, **{key: data[key] + 1 for key in self.writes}}


def test_irreps_out_are_those_that_come_in_and_those_written():
    step = Step(
        {"node_attrs": "3x0e"}, {"edge_attrs": "1o"}, ["node_attrs"], {"node_attrs": "2x1e"}
    )
    expected = {
        "node_attrs": Irreps("3x0e"),
        "edge_attrs": Irreps("1o"),
        "pos": Irreps("1o"),
        "edge_index": None,
        "atom_types": None,
    }
    assert step.irreps_in == expected
    assert step.irreps_out == {**expected, "node_attrs": Irreps("2x1e")}


UNFIT = {
    "other irreps": (
        lambda: Step({"node_features": "4x0e"}, reads={"node_features": "2x1o"}),
        ValueError,
        "Step reads the field 'node_features' as 2x1o, but it comes in as 4x0e",
    ),
    "positions": (
        lambda: Step({"pos": "1e"}),
        ValueError,
        "Step reads the field 'pos' as 1x1o, but it comes in as 1x1e",
    ),
    "an index that rotates": (
        lambda: Step({"edge_index": "2x0e"}),
        ValueError,
        r"'edge_index' as no irreps \(it does not rotate\), but it comes in as 2x0e",
    ),
    "missing": (
        lambda: Step({"node_attrs": "0e"}, needs=["edge_attrs"]),
        KeyError,
        "Step reads the field 'edge_attrs', which does not come in; there are node_attrs, pos",
    ),
    "no irreps": (
        lambda: Step({"node_attrs": "many scalars"}),
        ValueError,
        "the field 'node_attrs' has irreps 'many scalars'",
    ),
    "modules in order": (
        lambda: SequentialGraphNetwork(
            [Step(writes={"node_features": "4x0e"}), Step(), Step({"node_features": "1o"})]
        ),
        ValueError,
        r"module2 \(Step\) reads the field 'node_features' as 1x1o, but module0 \(Step\) gives it",
    ),
    "named modules": (
        lambda: SequentialGraphNetwork(
            {"embed": Step(writes={"x": "0e"}), "layer": Step(reads={"x": "2x0e"})}
        ),
        ValueError,
        r"layer \(Step\) reads the field 'x' as 2x0e, but embed \(Step\) gives it as 1x0e",
    ),
    "types": (
        lambda: SequentialGraphNetwork([Step(type_names=("H",)), Step(type_names=("O",))]),
        ValueError,
        r"module1 \(Step\) is for the types O, but module0 \(Step\) for H",
    ),
    "no graph module": (
        lambda: SequentialGraphNetwork({"linear": torch.nn.Linear(1, 1)}),
        TypeError,
        r"linear \(Linear\) is not a graph module",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_refused_when_it_is_built(name):
    build, error, message = UNFIT[name]
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("named", [False, True])
def test_a_network_runs_its_modules_in_order(named):
    first = Step({"a": "0e"}, writes={"a": "0e"}, cutoff=4.0, hops=0, type_names=("H", "O"))
    second = Step({"b": "0e"}, writes={"a": "0e", "b": "0e"}, cutoff=5.0, hops=1)
    third = Step({"a": "0e"}, writes={"a": "0e"}, hops=1, type_names=("H", "O"))
    modules = (
        {"x": first, "y": second, "z": third} if named else (m for m in (first, second, third))
    )
    network = SequentialGraphNetwork(modules)
    assert list(network) == [first, second, third]
    assert len(network) == 3
    names = ["x", "y", "z"] if named else ["module0", "module1", "module2"]
    assert [name for name, _ in network.named_children()] == names
    assert (network.cutoff, network.hops, network.type_names) == (5.0, 2, ("H", "O"))
    assert network.irreps_in["b"] == Irreps("0e")  # nothing before the second module gives it
    data = {"a": torch.zeros(1), "b": torch.zeros(1)}
    assert {k: v.item() for k, v in network(data).items()} == {"a": 3.0, "b": 1.0}
    assert data["a"].item() == 0.0


def test_modules_are_added_where_they_fit():
    first, last = Step(writes={"a": "0e"}, hops=1), Step({"a": "2x0e"}, cutoff=3.0)
    between = Step({"a": "0e"}, writes={"a": "2x0e"}, hops=1, type_names=("H",))
    network = SequentialGraphNetwork({"first": first})
    network.append("between", between)
    network.append("last", last)
    assert [*network] == [first, between, last]
    assert (network.cutoff, network.hops, network.type_names) == (3.0, 2, ("H",))
    assert network.irreps_out["a"] == Irreps("2x0e")
    for place in ({"after": "first"}, {"before": "last"}):
        again = SequentialGraphNetwork({"first": first, "last": Step({"b": "0e"})})
        again.insert("between", between, **place)
        assert [name for name, _ in again.named_children()] == ["first", "between", "last"]
        assert again[1] is between
        assert again[-1].irreps_in["b"] == Irreps("0e")


NOT_ADDED = {
    "irreps": (
        lambda network: network.insert("wrong", Step({"a": "3x0e"}), after="first"),
        ValueError,
        r"wrong \(Step\) reads the field 'a' as 3x0e, but first \(Step\) gives it as 1x0e",
    ),
    "what comes after": (
        lambda network: network.insert("wrong", Step({"a": "0e"}, writes={"a": "1o"}), "first"),
        ValueError,
        r"last \(Step\) reads the field 'a' as 1x0e, but wrong \(Step\) gives it as 1x1o",
    ),
    "types": (
        lambda network: network.append("wrong", Step(type_names=("O",))),
        ValueError,
        r"wrong \(Step\) is for the types O, but last \(Step\) for H",
    ),
    "name": (
        lambda network: network.append("last", Step()),
        ValueError,
        "there is a module 'last' already: first, last",
    ),
    "no place": (
        lambda network: network.insert("x", Step()),
        ValueError,
        "expected one of after and before, got None and None",
    ),
    "two places": (
        lambda network: network.insert("x", Step(), after="first", before="last"),
        ValueError,
        "expected one of after and before",
    ),
    "unknown place": (
        lambda network: network.insert("x", Step(), after="y"),
        KeyError,
        "there is no module 'y'; there are first, last",
    ),
    "no graph module": (
        lambda network: network.append("linear", torch.nn.Linear(1, 1)),
        TypeError,
        r"linear \(Linear\) is not a graph module",
    ),
}


@pytest.mark.parametrize("name", NOT_ADDED)
def test_what_does_not_fit_is_not_added(name):
    add, error, message = NOT_ADDED[name]
    first, last = Step(writes={"a": "0e"}, hops=1), Step({"a": "0e"}, type_names=("H",))
    network = SequentialGraphNetwork({"first": first, "last": last})
    with pytest.raises(error, match=message):
        add(network)
    assert [*network] == [first, last]
    assert (network.hops, network.type_names) == (1, ("H",))
    assert network.irreps_out["a"] == Irreps("0e")


def test_a_module_that_stands_twice_runs_twice():
    step = Step({"a": "0e"}, writes={"a": "0e"}, hops=1)
    network = SequentialGraphNetwork([step, step])
    assert (len(network), network.hops) == (2, 2)
    assert network({"a": torch.zeros(1)})["a"].item() == 2.0


def test_networks_nest():
    inner = SequentialGraphNetwork([Step({"a": "0e"}, writes={"a": "2x0e"}, hops=2)])
    with pytest.raises(ValueError, match=r"module1 \(Step\) reads the field 'a' as 1x0e"):
        SequentialGraphNetwork([inner, Step({"a": "0e"})])
    assert SequentialGraphNetwork([inner, Step({"a": "2x0e"}, hops=1)]).hops == 3


def test_a_network_survives_its_state():
    network = SequentialGraphNetwork({"linear": Weighted(2.0)})
    again = SequentialGraphNetwork({"linear": Weighted(0.0)})
    again.load_state_dict(network.state_dict())
    assert again.linear.weight.item() == 2.0


class Weighted(GraphModuleMixin, torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self._init_irreps()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, data):
        return data


def test_irreps_of_nothing():
    assert irreps_of(None) == {}
    assert irreps_of({"pos": "1o", "edge_index": None}) == {"pos": Irreps("1o"), "edge_index": None}


def run(code, *paths):
    """Run code in a fresh interpreter, which finds packages in these folders first."""
    prefix = f"import sys; sys.path[:0] = {[str(path) for path in paths]}; "
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", prefix + code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_linear_model_needs_no_torch():
    hide = "sys.modules |= {'torch': None, 'e3nn': None}; "
    code = "from nablatom.models import LinearModel; print(LinearModel.__name__)"
    assert run(hide + code) == "LinearModel"


OLD_E3NN = """
import pathlib, warnings
import torch
warnings.warn("torch.jit.script is deprecated", DeprecationWarning)
torch.load(pathlib.Path(__file__).with_name("constants.pt"))
from e3nn import nn
"""


def test_e3nn_as_old_as_the_one_that_mace_needs(tmp_path):
    """It warns that TorchScript is deprecated, and loads a slice, which torch has to allow."""
    for name in ("o3", "nn"):
        (tmp_path / "e3nn" / name).mkdir(parents=True)
        (tmp_path / "e3nn" / name / "__init__.py").write_text("class Irreps: pass")
    (tmp_path / "e3nn" / "__init__.py").write_text(OLD_E3NN)
    torch.save({"slice": slice(0, 3)}, tmp_path / "e3nn" / "constants.pt")
    code = "from nablatom.models import irreps; print(irreps.Irreps.__module__)"
    assert run(code, tmp_path) == "e3nn.o3"
    with pytest.raises(AssertionError, match="DeprecationWarning"):
        run("import e3nn", tmp_path)


def test_there_is_no_other_name():
    import nablatom.models

    with pytest.raises(AttributeError, match=r"'nablatom\.models' has no attribute 'Unknown'"):
        nablatom.models.Unknown  # noqa: B018
    for name in nablatom.models.__all__:
        assert getattr(nablatom.models, name) is not None
    assert AtomicDataDict.POSITIONS_KEY == "pos"
