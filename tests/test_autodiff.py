"""Stored gradients into autograd and back."""

import numpy as np
import pytest
import torch

from nablatom import Labels, TensorBlock, TensorMap, allclose, dot, sum_over_samples
from nablatom.autodiff import attach, record

N = Labels.range("n", 3)


def systems(seed=0, cells=True):
    draw = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    return [
        {"pos": 3 * random(n, 3), **({"cell": 4 * torch.eye(3) + random(3, 3)} if cells else {})}
        for n in (3, 5)
    ]


def features(data):
    """Three smooth many-body features of each atom, periodic images included."""
    shifts = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 3)
    vectors = data["pos"][None, :, None] - data["pos"][:, None, None] + shifts @ data["cell"]
    squares = vectors.square().sum(-1) + torch.eye(len(data["pos"]))[:, :, None] * 1e-2
    widths = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    return torch.tanh(torch.exp(-squares[..., None] / widths).sum((1, 2)))


def local(data):
    """A feature of each atom that sees the next one only."""
    pos = data["pos"]
    return torch.sin(pos.sum(1, keepdim=True) * torch.roll(pos, 1, 0).prod(1, keepdim=True))


@pytest.mark.parametrize("parameter", ["positions", "strain", "cell"])
def test_recorded_derivatives_match_finite_differences(parameter):
    block = record(features, systems(), wrt=[parameter], properties=N).block()
    gradient = block.gradient(parameter)
    steps = gradient.values.shape[1:-1]
    for row in (0, len(gradient.samples) - 1):
        sample = gradient.samples[row]["sample"]
        system, atom = block.samples[sample]
        for index in np.ndindex(*steps):
            found = gradient.values[(row, *index)]
            mover = gradient.samples[row]["atom"] if parameter == "positions" else None
            expected = difference(parameter, system, atom, mover, index)
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def difference(parameter, system, atom, mover, index, step=1e-5):
    values = []
    for sign in (1, -1):
        data = dict(systems()[system])
        if parameter == "strain":
            change = torch.eye(3, dtype=torch.float64)
            change[index] += sign * step
            data = {key: array @ change for key, array in data.items()}
        else:
            key, at = ("pos", (mover, *index)) if parameter == "positions" else ("cell", index)
            data[key] = data[key].clone()
            data[key][at] += sign * step
        values.append(features(data)[atom])
    return (values[0] - values[1]) / (2 * step)


def test_only_rows_that_are_not_zero_are_stored():
    gradient = record(local, systems()).block().gradient("positions")
    expected = [(s, 0, a) for s in range(3) for a in sorted({s, (s - 1) % 3})]
    assert [tuple(row) for row in gradient.samples.values[:6].tolist()] == expected
    assert len(gradient.samples) == 2 * (3 + 5)


def test_the_sum_over_atoms_is_the_record_of_the_sum():
    atoms = record(features, systems(), wrt=["positions", "strain", "cell"], properties=N)
    frames = record(
        lambda data: features(data).sum(0),
        systems(),
        wrt=["positions", "strain", "cell"],
        properties=N,
    )
    assert allclose(sum_over_samples(atoms, "atom"), frames, rtol=1e-12)


def test_record_leaves_its_input_alone():
    data = systems()
    before = {key: array.clone() for key, array in data[0].items()}
    record(features, data, wrt=["positions", "strain"])
    assert all(torch.equal(before[key], data[0][key]) for key in before)
    assert not any(array.requires_grad for array in data[0].values())


def leaves():
    found = systems()
    pos = [data["pos"].clone().requires_grad_() for data in found]
    strain = [torch.zeros(3, 3, dtype=torch.float64, requires_grad=True) for _ in found]
    return pos, strain


def energy_of(values, weights):
    return (torch.tanh(values @ weights[0]) @ weights[1]).sum()


def weights():
    draw = torch.Generator().manual_seed(7)
    return [
        torch.rand(*shape, generator=draw, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 4), (4,))
    ]


def autograd_energy(pos, strain, w):
    energy = 0.0
    for data, p, eps in zip(systems(), pos, strain, strict=True):
        change = torch.eye(3, dtype=torch.float64) + eps
        energy = energy + energy_of(features({"pos": p @ change, "cell": data["cell"] @ change}), w)
    return energy


def attached_energy(pos, strain, w):
    stored = record(features, systems(), wrt=["positions", "strain"], properties=N)
    return energy_of(attach(stored, positions=pos, strain=strain).block().values, w)


def test_attached_values_have_the_forces_and_stress_of_autograd():
    (pos, strain), w = leaves(), weights()
    found = torch.autograd.grad(attached_energy(pos, strain, w), [*pos, *strain, *w])
    expected = torch.autograd.grad(autograd_energy(pos, strain, w), [*pos, *strain, *w])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_loss_on_forces_and_stress_trains_the_weights():
    results = []
    for energy in (attached_energy, autograd_energy):
        (pos, strain), w = leaves(), weights()
        derivatives = torch.autograd.grad(
            energy(pos, strain, w), [*pos, *strain], create_graph=True
        )
        loss = sum(d.square().sum() for d in derivatives)
        results.append(torch.autograd.grad(loss, w))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_second_derivatives_by_the_positions_are_refused():
    (pos, strain), w = leaves(), weights()
    energy = attached_energy(pos, strain, w)
    forces = torch.autograd.grad(energy, pos, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="not stored; ask only for what you need"):
        torch.autograd.grad(forces.sum(), pos[0], retain_graph=True)
    forces.square().sum().backward(inputs=w)
    assert w[0].grad.abs().sum() > 0


def test_operations_on_attached_maps_stay_in_the_graph():
    (pos, _), w = leaves(), weights()
    stored = record(features, systems(), wrt=["positions"], properties=N)
    map_of = TensorMap(Labels.single(), [TensorBlock(w[0].T, Labels.range("w", 4), [], N)])
    explicit = sum_over_samples(dot(stored, map_of), "atom").block()
    implicit = sum_over_samples(dot(attach(stored, positions=pos), map_of), "atom").block()
    assert not implicit.has_any_gradient()
    found = torch.autograd.grad(implicit.values[1, 2], pos[1])[0]
    rows = explicit.gradient("positions").samples.column("sample") == 1
    torch.testing.assert_close(found, explicit.gradient("positions").values[rows, :, 2])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"cell": torch.zeros(3, 3)}, KeyError, "no gradient 'cell'"),
        ({"positions": torch.zeros(3, 3)}, ValueError, "tensors for 1 only"),
        ({"positions": [torch.zeros(3, 2), torch.zeros(5, 2)]}, ValueError, "got shape \\(3, 2\\)"),
        ({"positions": [torch.zeros(3, 3), torch.zeros(2, 3)]}, ValueError, "do not have"),
    ],
)
def test_attach_says_what_does_not_fit(given, error, message):
    stored = record(features, systems(), properties=N)
    with pytest.raises(error, match=message):
        attach(stored, **given)


def test_attach_takes_torch_values():
    stored = record(features, systems(), properties=N).to(arrays="numpy")
    with pytest.raises(TypeError, match=r"got ndarray: convert the tensor with \.to\("):
        attach(stored, positions=[torch.zeros(3, 3)])


def model(data):
    """What models return: everything that came, and quantities of atoms and of frames."""
    atomic = features(data)
    return {**data, "atomic_energy": atomic[:, :1], "total_energy": atomic[:, :1].sum(0)[None]}


def test_quantities_of_models_are_named():
    energy = Labels.range("energy", 1)
    options = {"wrt": ["positions", "strain"], "properties": energy}
    atomic = record(model, systems(), of="atomic_energy", **options)
    assert allclose(atomic, record(lambda data: features(data)[:, :1], systems(), **options))
    total = record(model, systems(), of="total_energy", **options)
    assert total.sample_names == ["system"]
    assert allclose(total, sum_over_samples(atomic, "atom"))


def test_systems_of_one_atom_are_like_the_others():
    one = {"pos": torch.rand(1, 3).double(), "cell": 4 * torch.eye(3).double()}
    for data in ([one, *systems()], [*systems(), one]):
        atomic = record(model, data, of="atomic_energy")
        assert atomic.sample_names == ["system", "atom"]
        assert len(atomic.block().samples) == 9
        assert record(model, data, of="total_energy").block().samples.names == ["system"]


def test_energies_of_a_model():
    """Partial forces sum to the forces, which are those of a pair potential."""
    pytest.importorskip("e3nn")
    from ase.build import molecule

    from nablatom.models import AtomicDataDict, LennardJones

    potential = LennardJones(["H", "O"], [0.1, 0.2], [1.0, 2.0], cutoff=4.0)
    data = AtomicDataDict.from_ase(molecule("H2O", vacuum=3.0), 4.0, ["H", "O"])
    atomic = record(potential, [data], of="atomic_energy", wrt="positions")
    total = record(potential, [data], of="total_energy", wrt="positions")
    assert allclose(sum_over_samples(atomic, "atom"), total)
    pos = data["pos"].clone().requires_grad_()
    energy = potential({**data, "pos": pos})["total_energy"].sum()
    slope = torch.autograd.grad(energy, pos)[0]
    torch.testing.assert_close(total.block().gradient("positions").values[:, :, 0], slope)


def test_record_says_which_quantities_there_are():
    with pytest.raises(TypeError, match="got dict; say which of its entries with of"):
        record(model, systems())
    with pytest.raises(KeyError, match=r"no 'energy' in what .* atomic_energy, total_energy"):
        record(model, systems(), of="energy")
    with pytest.raises(TypeError, match=r"of='energy' names an entry .* returns Tensor"):
        record(features, systems(), of="energy")
    with pytest.raises(TypeError, match="must return a tensor, got float"):
        record(lambda data: 1.0, systems())


def test_record_says_what_does_not_fit():
    with pytest.raises(ValueError, match="there are no systems"):
        record(features, [])
    with pytest.raises(TypeError, match=r"must be dictionaries of tensors, .* got list"):
        record(features, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="each of the 3 atoms of system 0, got 2"):
        record(lambda data: data["pos"][:2], systems())
    with pytest.raises(TypeError, match="a name or several of them, got 3"):
        record(features, systems(), wrt=3)
    with pytest.raises(ValueError, match="no derivative with respect to 'velocities'"):
        record(features, systems(), wrt=["velocities"])
    with pytest.raises(ValueError, match="system 0 has no cell"):
        record(local, systems(cells=False), wrt=["cell"])
    with pytest.raises(ValueError, match="must return"):
        record(lambda data: data["pos"].sum(), systems())
