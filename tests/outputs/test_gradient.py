"""GradientOutput: any scalar by any input, nested in itself, and what it refuses."""

import pickle
from copy import deepcopy

import pytest
import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs import GradientOutput, StressOutput, forces, gradient, pair_derivatives
from nablatom.testing.hygiene import assert_untouched
from response_models import Messages, cluster, crystal, data_of, small_cell

ENERGY = "total_energy"


class InField(GraphModuleMixin, torch.nn.Module):
    """An energy model in an electric field, to third order, with an input that it ignores."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.cutoff, self.hops, self.type_names = model.cutoff, model.hops, model.type_names
        self._init_irreps(
            {**model.irreps_in, "electric_field": "1o", "temperature": "0e"},
            irreps_out=model.irreps_out,
        )

    def forward(self, data):
        data = self.model(data)
        field = data["electric_field"][AtomicDataDict.frame_of_atoms(data)]
        along = (field * data["pos"]).sum(1, keepdim=True)
        work = AtomicDataDict.sum_over_atoms(along + 0.1 * along**3, data)
        return {**data, ENERGY: data[ENERGY] - work}


@pytest.fixture(scope="module")
def model():
    return InField(Messages(2).eval()).eval()


def in_field(structure, model):
    return data_of(structure, model) | {
        "electric_field": torch.tensor([[0.2, -0.1, 0.3]], dtype=torch.float64),
        "temperature": torch.tensor([[300.0]], dtype=torch.float64),
    }


def difference(model, data, field, h=1e-5):
    """Central differences of the energy, one entry of the field at a time."""
    slope = torch.zeros_like(data[field])
    for index in range(slope.numel()):
        step = torch.zeros_like(slope)
        step.view(-1)[index] = h
        above, below = (model(data | {field: data[field] + s})[ENERGY] for s in (step, -step))
        slope.view(-1)[index] = ((above - below) / (2 * h)).sum()
    return slope


@pytest.mark.parametrize("field", ["pos", "cell", "electric_field"])
def test_equals_differences(field, model):
    data = in_field(small_cell(), model)
    output = GradientOutput(model, of=ENERGY, wrt=field)(data)[f"d({ENERGY})/d({field})"]
    assert output.shape == data[field].shape
    expected = difference(model, data, field)
    torch.testing.assert_close(output, expected, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(gradient(model, data, of=ENERGY, wrt=field)[field], output)


def test_several_inputs_in_one_pass(model):
    data = in_field(crystal(), model)
    together = GradientOutput(model, ENERGY, ["pos", "electric_field"], ["up", "down"], -1.0)
    outputs = together(data)
    for name, field in (("up", "pos"), ("down", "electric_field")):
        alone = gradient(model, data, of=ENERGY, wrt=field)[field]
        torch.testing.assert_close(outputs[name], -alone, rtol=0, atol=1e-13)
        assert together.irreps_out[name] == together.irreps_in[field]
    assert set(together.irreps_out) == {*model.irreps_out, "up", "down", "pos", "electric_field"}


def test_vectors_in_the_data_move_with_positions_and_cell(model):
    data = in_field(small_cell(), model)
    stored = AtomicDataDict.with_edge_vectors(data)
    for field in ("pos", "cell"):
        found = gradient(model, stored, of=ENERGY, wrt=field)[field]
        torch.testing.assert_close(found, gradient(model, data, of=ENERGY, wrt=field)[field])
    by_vectors = gradient(model, stored, of=ENERGY, wrt="edge_vectors")["edge_vectors"]
    expected = pair_derivatives(model, data).by_vectors
    torch.testing.assert_close(by_vectors, expected, rtol=0, atol=1e-13)


def test_frames_of_a_batch_do_not_see_each_other(model):
    frames = [in_field(make(), model) for make in (cluster, crystal, small_cell)]
    batch = AtomicDataDict.batched(frames, {"temperature": "frames"})
    for field in ("pos", "cell", "electric_field"):
        found = gradient(model, batch, of=ENERGY, wrt=field)[field]
        alone = [gradient(model, frame, of=ENERGY, wrt=field)[field] for frame in frames]
        torch.testing.assert_close(found, torch.cat(alone), rtol=1e-12, atol=1e-12)


# -- higher derivatives -------------------------------------------------------------------


class SquaredForces(GraphModuleMixin, torch.nn.Module):
    """``|dE/dr|²`` of each frame: a scalar made of a gradient."""

    def __init__(self, func):
        super().__init__()
        self.func = func
        self.cutoff, self.hops, self.type_names = func.cutoff, func.hops, func.type_names
        self._init_irreps(func.irreps_in, irreps_out={**func.irreps_out, "squared": "0e"})

    def forward(self, data):
        data = self.func(data)
        squared = data[f"d({ENERGY})/d(pos)"].square().sum(1, keepdim=True)
        return {**data, "squared": AtomicDataDict.sum_over_atoms(squared, data)}


def test_wraps_itself(model):
    data = in_field(crystal(), model)
    inner = GradientOutput(model, of=ENERGY, wrt="electric_field")
    outputs = GradientOutput(inner, of=ENERGY, wrt="pos")(data)
    assert not any(x.requires_grad for x in outputs.values())
    for field in ("pos", "electric_field"):
        expected = gradient(model, data, of=ENERGY, wrt=field)[field]
        torch.testing.assert_close(outputs[f"d({ENERGY})/d({field})"], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("training", [False, True])
def test_second_derivatives_by_nesting(model, training):
    """The gradient of squared forces is twice the Hessian times the gradient."""
    data = in_field(small_cell(), model)
    inner = GradientOutput(deepcopy(model).train(training), of=ENERGY, wrt="pos")
    outer = GradientOutput(SquaredForces(inner), of="squared", wrt=["pos", "electric_field"])
    outputs = outer(data)

    def energy(pos, field):
        return model(data | {"pos": pos, "electric_field": field})[ENERGY].sum()

    point = (data["pos"], data["electric_field"])
    slope = torch.autograd.functional.jacobian(energy, point)[0]
    (by_pos, _), (by_field, _) = torch.autograd.functional.hessian(energy, point)
    for field, rows in (("pos", by_pos), ("electric_field", by_field)):
        expected = 2 * torch.tensordot(rows, slope, dims=2)
        torch.testing.assert_close(outputs[f"d(squared)/d({field})"], expected)
    assert outputs["squared"].requires_grad is training


def test_around_stress(model):
    data = in_field(crystal(), model)
    outputs = GradientOutput(StressOutput(model), of=ENERGY, wrt="electric_field")(data)
    plain = StressOutput(model)(data)
    torch.testing.assert_close(outputs["stress"], plain["stress"])
    torch.testing.assert_close(outputs["forces"], plain["forces"])
    torch.testing.assert_close(
        outputs[f"d({ENERGY})/d(electric_field)"],
        gradient(model, data, of=ENERGY, wrt="electric_field")["electric_field"],
    )


def test_gradgradcheck(model):
    data = in_field(small_cell(), model)

    def slopes(pos, field):
        moved = data | {"pos": pos, "electric_field": field}
        return tuple(gradient(model, moved, of=ENERGY, wrt=["pos", "electric_field"]).values())

    leaves = [data[key].clone().requires_grad_() for key in ("pos", "electric_field")]
    assert torch.autograd.gradcheck(slopes, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(slopes, leaves, fast_mode=True, atol=1e-4)


def test_no_field_and_no_distance_give_no_nan():
    class Lengths(GraphModuleMixin, torch.nn.Module):
        def __init__(self):
            super().__init__()
            self._init_irreps(irreps_out={ENERGY: "0e"})

        def forward(self, data):
            data = AtomicDataDict.with_edge_vectors(data)
            return {**data, ENERGY: data["edge_lengths"].sum(0, keepdim=True)}

    data = {"pos": torch.zeros(2, 3), "edge_index": torch.tensor([[0, 1], [1, 0]])}
    pos = data["pos"].clone().requires_grad_()
    slope = gradient(Lengths(), data | {"pos": pos}, of=ENERGY, wrt="pos")["pos"]
    (second,) = torch.autograd.grad(slope.sum(), pos)
    assert slope.eq(0).all()
    assert second.eq(0).all()


# -- hygiene ------------------------------------------------------------------------------


def test_inputs_are_untouched(model):
    module = GradientOutput(model, of=ENERGY, wrt=["pos", "electric_field"])
    data = in_field(crystal(), model)
    assert_untouched(module, data)
    assert_untouched(module, AtomicDataDict.with_edge_vectors(data))
    outputs = module(data)
    assert outputs["electric_field"] is data["electric_field"]
    assert outputs["pos"] is data["pos"]
    assert not any(x.requires_grad for x in outputs.values())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode, model):
    module = GradientOutput(model, of=ENERGY, wrt="pos", sign=-1, out_field="forces")
    with mode():
        found = module(in_field(crystal(), model))["forces"]
    torch.testing.assert_close(found, forces(model, in_field(crystal(), model)))


def test_copies_and_pickles(model):
    module = GradientOutput(model, of=ENERGY, wrt="pos")
    data = in_field(crystal(), model)
    expected = module(data)[f"d({ENERGY})/d(pos)"]
    for copy in (deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(copy(data)[f"d({ENERGY})/d(pos)"], expected, rtol=0, atol=0)


# -- what it refuses ----------------------------------------------------------------------


def test_unused_inputs(model):
    data = in_field(crystal(), model)
    with pytest.raises(RuntimeError, match="'total_energy' does not depend on 'temperature'"):
        GradientOutput(model, of=ENERGY, wrt=["pos", "temperature"])(data)
    module = GradientOutput(model, of=ENERGY, wrt=["pos", "temperature"], allow_unused=True)
    assert module(data)[f"d({ENERGY})/d(temperature)"].eq(0).all()


REFUSED = {
    "unknown output": (
        {"of": "energie", "wrt": "pos"},
        "no output 'energie'; it has .*total_energy",
    ),
    "vector output": ({"of": "pos", "wrt": "pos"}, r"only a scalar \(0e\).*'pos' is 1x1o"),
    "output of atoms": ({"of": "atomic_energy", "wrt": "pos"}, "value for each of the atoms"),
    "unknown input": ({"of": ENERGY, "wrt": "position"}, "no input 'position'; it has .*pos"),
    "integers": ({"of": ENERGY, "wrt": ["pos", "atom_types"]}, "'atom_types' holds integers"),
    "twice": ({"of": ENERGY, "wrt": ["pos", "pos"]}, "different inputs"),
    "none": ({"of": ENERGY, "wrt": []}, "different inputs"),
    "names": ({"of": ENERGY, "wrt": ["pos", "cell"], "out_field": "slope"}, "a different field"),
    "name of an output": (
        {"of": ENERGY, "wrt": "pos", "out_field": ENERGY},
        "'total_energy' is a field that the model reads or gives",
    ),
    "name of an input": (
        {"of": ENERGY, "wrt": "edge_vectors", "out_field": "edge_vectors"},
        "'edge_vectors' is a field that the model reads or gives",
    ),
    "sign": ({"of": ENERGY, "wrt": "pos", "sign": 2.0}, "expected 1 or -1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_construction(name, model):
    arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        GradientOutput(model, **arguments)


def test_refused_at_run_time(model):
    data = in_field(crystal(), model)
    with pytest.raises(KeyError, match=r"no field 'charges' to differentiate by; they have .*pos"):
        gradient(model, data, of=ENERGY, wrt="charges")
    with pytest.raises(ValueError, match=r"holds torch\.int64"):
        gradient(model, data, of=ENERGY, wrt="edge_index")
    with pytest.raises(ValueError, match=r"'atomic_energy' has the shape \(8, 1\).*\(1, 1\)"):
        gradient(model, data, of="atomic_energy", wrt="pos")
    with pytest.raises(TypeError, match="function is no graph module"):
        GradientOutput(lambda data: data, of=ENERGY, wrt="pos")
