import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import nablatom
from message_passing import Whole, layered
from nablatom.models import AtomicDataDict, LennardJones, NequIP
from nablatom.outputs import StressOutput, planning
from nablatom.outputs.partial_forces import (
    PartialForceOutput,
    atom_energies,
    dense_partial_forces,
    partial_forces,
)

F64 = torch.float64


def rattled(structure, seed=0, amplitude=0.1):
    structure = structure.copy()
    structure.rattle(amplitude, seed=seed)
    return structure


def skewed():
    """Two atoms in a small triclinic cell: neighbors are their own images and each other's."""
    cell = [[2.6, 0.1, 0.0], [0.4, 2.9, 0.2], [0.3, -0.5, 3.1]]
    return ase.Atoms("SiC", [[0, 0, 0], [1.3, 1.2, 1.6]], cell=cell, pbc=True)


def left_handed():
    structure = rattled(bulk("Si", cubic=True), seed=3)
    structure.set_cell(structure.cell.array[[1, 0, 2]])
    return structure


def chain():
    return rattled(ase.Atoms("Si24", [[0, 0, 2.1 * i] for i in range(24)]), seed=1)


def slab():
    structure = rattled(bulk("Si", cubic=True).repeat((2, 2, 1)), seed=2)
    structure.center(vacuum=6.0, axis=2)
    structure.pbc = [True, True, False]
    return structure


STRUCTURES = {
    "small triclinic cell": skewed,
    "left-handed": left_handed,
    "crystal": lambda: rattled(bulk("Si", cubic=True).repeat(2)),
    "slab": slab,
    "chain": chain,
    "molecule": lambda: molecule("Si2H6"),
    "one atom": lambda: ase.Atoms("Si"),
    "one atom and its images": lambda: bulk("Si", "sc", a=2.5),
    "apart": lambda: ase.Atoms("Si3", [[0, 0, 0], [0, 0, 2.2], [0, 0, 9.0]]),
}
TYPES = ("Si", "C", "H")
METHODS = ("clusters", "coloring", "loop", "chunks")


def data_of(structure, cutoff=3.0):
    return AtomicDataDict.from_ase(structure, cutoff=cutoff)


def batch(*names, cutoff=3.0):
    frames = [data_of(STRUCTURES[name](), cutoff) for name in names]
    return AtomicDataDict.batched(
        [{"cell": torch.zeros(1, 3, 3, dtype=F64), **frame} for frame in frames]
    )


def jacobian(model, data):
    """-dE_i/dr_j by torch's own dense route, without any sparsity."""
    return -torch.autograd.functional.jacobian(
        lambda pos: model({**data, "pos": pos})["atomic_energy"][:, 0], data["pos"]
    )


def assert_same(found, expected, tolerance=1e-12):
    scale = expected.abs().max().clamp(min=1e-6) if expected.numel() else 1.0
    assert found.shape == expected.shape
    worst = ((found - expected).abs().max() / scale).item() if expected.numel() else 0.0
    assert worst <= tolerance, f"differ by {worst:.1e} of the largest"


def scattered(tensor, atoms, first=(0,)):
    """The dense array of a sparse one, by its labels."""
    block = tensor.block()
    rows = block.gradient("positions").samples
    column = np.asarray(first)[rows.column("system")] + rows.column("atom")
    at = torch.tensor(rows.column("sample")), torch.tensor(column)
    dense = torch.zeros(len(block), atoms, 3, dtype=block.values.dtype)
    dense[at] = -block.gradient("positions").values[..., 0]
    return dense


def test_the_reference_of_these_tests_is_right():
    model, data = layered(2, TYPES), data_of(skewed())
    step, expected = 1e-5, jacobian(model, data)
    for j, a in ((0, 2), (1, 0)):
        ends = []
        for h in (step, -step):
            pos = data["pos"].clone()
            pos[j, a] += h
            ends.append(model({**data, "pos": pos})["atomic_energy"][:, 0])
        assert_same((ends[1] - ends[0]) / (2 * step), expected[:, j, a], 1e-8)


# every way equals the dense one


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_way_equals_the_dense_one(name, method):
    data = data_of(STRUCTURES[name]())
    for layers in (1, 2) if method != "coloring" else (2,):
        model = layered(layers, TYPES)
        expected = jacobian(model, data)
        sparse = partial_forces(model, data, method=method)
        assert_same(scattered(sparse, len(data["pos"])), expected)
        assert_same(sparse.block().values, model(data)["atomic_energy"].detach())
        assert_same(dense_partial_forces(model, data, method=method), expected)


@pytest.mark.parametrize("batch_edges", [1, 50, 300, 10**6])
@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("seen", [True, False])
def test_batches_of_clusters_may_have_any_size(batch_edges, layers, seen):
    """With layers pruned, and for a model whose layers cannot be seen."""
    network = layered(layers, TYPES)
    model = network if seen else Whole(network, hops=layers).eval()
    for name in ("slab", "chain", "small triclinic cell"):
        data = data_of(STRUCTURES[name]())
        found = dense_partial_forces(model, data, method="clusters", batch_edges=batch_edges)
        assert_same(found, jacobian(model, data))


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_frames_of_a_batch_are_apart(method):
    names = ("crystal", "molecule", "small triclinic cell", "one atom")
    model, data = layered(2, TYPES), batch(*names)
    sizes = [len(STRUCTURES[name]()) for name in names]
    first = np.cumsum([0, *sizes])
    whole = scattered(partial_forces(model, data, method=method), sum(sizes), first)
    for k, name in enumerate(names):
        here = slice(first[k], first[k + 1])
        alone = dense_partial_forces(model, data_of(STRUCTURES[name]()))
        assert_same(whole[here, here], alone)
        whole[here, here] = 0
    assert whole.abs().max() == 0
    found = partial_forces(model, data, method=method)
    assert list(np.bincount(found.block().samples.column("system"))) == sizes


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_frames_without_atoms_have_no_rows(method):
    model, empty = layered(2, TYPES), data_of(ase.Atoms())
    parts = [data_of(slab()), empty, data_of(chain()), empty]
    data = AtomicDataDict.batched([{"cell": torch.zeros(1, 3, 3, dtype=F64), **p} for p in parts])
    found = partial_forces(model, data, method=method)
    assert np.bincount(found.block().samples.column("system")).tolist() == [32, 0, 24]
    assert_same(dense_partial_forces(model, data, method=method), jacobian(model, data))


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_edge_vectors_of_other_positions_do_not_count(method):
    data = data_of(slab())
    stale = {**AtomicDataDict.with_edge_vectors(data), "pos": data["pos"] * 1.01}
    for model in (layered(1, TYPES), layered(2, TYPES)):
        expected = jacobian(model, {**data, "pos": stale["pos"]})
        assert_same(dense_partial_forces(model, stale, method=method), expected)


def test_atoms_of_a_batch_may_be_mixed():
    """Frames whose atoms do not stand together, as other programs may give them."""
    model, data = layered(2, TYPES), batch("slab", "chain")
    order = torch.randperm(len(data["pos"]), generator=torch.Generator().manual_seed(0))
    place = torch.argsort(order)
    mixed = {
        key: x[order] if AtomicDataDict.ROWS.get(key) == "atoms" or key == "batch" else x
        for key, x in data.items()
    } | {"edge_index": place[data["edge_index"]]}
    expected = dense_partial_forces(model, data)[order][:, order]
    assert_same(dense_partial_forces(model, mixed), expected)
    labels = partial_forces(model, mixed).block().samples
    assert len(np.unique(labels.values, axis=0)) == len(labels)


@pytest.mark.parametrize("method", ["auto", "one-pass", "clusters", "loop"])
def test_lennard_jones(method):
    model = LennardJones(TYPES, epsilon=[0.1, 0.2, 0.3], sigma=[1.9, 1.5, 1.2], cutoff=4.0)
    for name in ("crystal", "small triclinic cell", "molecule"):
        data = data_of(STRUCTURES[name](), cutoff=4.0)
        assert_same(dense_partial_forces(model, data, method=method), jacobian(model, data))


@pytest.mark.parametrize("method", ["auto", "one-pass", "clusters", "loop", "chunks"])
@pytest.mark.parametrize("layers", [1, 2])
def test_strain_and_cell_of_every_atom(method, layers):
    """Against autograd of strained positions and cells, atom by atom."""
    layers = 1 if method == "one-pass" else layers
    model, data = layered(layers, TYPES), batch("slab", "small triclinic cell")
    names = ["strain", "positions", "cell"]
    block = atom_energies(model, data, gradients=names, method=method).block()
    assert block.gradients_list() == names
    frame = data["batch"]

    def energies(strain, cell):
        one = torch.eye(3, dtype=F64) + strain
        pos = (data["pos"][:, None] @ one[frame])[:, 0]
        return model({**data, "pos": pos, "cell": cell @ one})["atomic_energy"][:, 0]

    zero = torch.zeros(2, 3, 3, dtype=F64)
    strain, cell = torch.autograd.functional.jacobian(energies, (zero, data["cell"]))
    assert_same(block.gradient("strain").values[..., 0], strain.sum(1))
    assert_same(block.gradient("cell").values[..., 0], cell.sum(1))


# other models


@pytest.mark.parametrize("batch_edges", [300, 8000])
@pytest.mark.parametrize("layers", [1, 3])
def test_nequip_leaves_out_atoms_layer_by_layer(layers, batch_edges):
    """Atoms without neighbors, several types, a pair term that is added to the layers."""
    names = ("slab", "small triclinic cell", "molecule", "one atom")
    model, data = nequip(layers), batch(*names)
    expected = jacobian(model, data)
    for method in ("auto", "clusters"):
        found = dense_partial_forces(model, data, method=method, batch_edges=batch_edges)
        assert_same(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_weights_in_single_precision_under_positions_in_double(method):
    """Rounding of the weights is no sign of a model that reaches too far."""
    model, data = nequip(2).float(), batch("slab", "chain")
    found = dense_partial_forces(model, data, method=method, batch_edges=300)
    assert_same(found, jacobian(nequip(2), data), 1e-4)


def test_nequip_that_says_too_little_is_noticed():
    model = Whole(nequip(3), hops=2).eval()
    with pytest.raises(ValueError, match="declares hops = 2"):
        partial_forces(model, data_of(chain()), method="clusters")


def test_through_another_output():
    model, data = layered(2, TYPES), batch("slab", "chain")
    for method in ("auto", "clusters", "loop"):
        found = dense_partial_forces(StressOutput(model), data, method=method)
        assert_same(found, jacobian(model, data))


def nequip(layers):
    options = {"l_max": 2, "features": 3, "zbl": True, "average_neighbors": 4.0}
    return NequIP(TYPES, 3.0, layers=layers, **options).eval()


# selected atoms


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_chosen_atoms_are_rows_of_the_whole(method):
    data = data_of(slab())
    for model in (layered(1, TYPES), layered(2, TYPES)):
        whole = dense_partial_forces(model, data)
        chosen = [17, 3, -1]
        found = partial_forces(model, data, atoms=chosen, method=method)
        assert_same(scattered(found, len(whole)), whole[chosen])
        assert found.block().samples.column("atom").tolist() == [17, 3, len(whole) - 1]
        mask = torch.arange(len(whole)) % 7 == 0
        assert_same(dense_partial_forces(model, data, atoms=mask, method=method), whole[mask])


@pytest.mark.parametrize(
    ("atoms", "message"),
    [([999], "no atom 999"), ([1, 1], "twice"), ([0.5], "indices"), ([True, False], "mask")],
)
def test_atoms_that_cannot_be_chosen(atoms, message):
    with pytest.raises(ValueError, match=message):
        partial_forces(layered(1, TYPES), data_of(slab()), atoms=atoms)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_no_atoms(method):
    data = data_of(slab())
    for found in (
        atom_energies(layered(2, TYPES), data, atoms=[], gradients=["positions"]),
        partial_forces(layered(2, TYPES), data_of(ase.Atoms()), method=method),
    ):
        assert found.block().shape == (0, 1)
        assert found.block().gradient("positions").shape == (0, 3, 1)


# sums, locality, permutation, labels


def test_sum_rules():
    model, data = layered(3, TYPES), data_of(slab())
    partial = dense_partial_forces(model, data, method="clusters", batch_edges=200)
    pos = data["pos"].clone().requires_grad_()
    energy = model({**data, "pos": pos})["total_energy"]
    (slope,) = torch.autograd.grad(energy.sum(), pos)
    assert_same(partial.sum(0), -slope)
    assert_same(partial.sum(1) + 1, torch.ones_like(slope))


def test_sum_over_atoms_gives_the_forces_with_their_labels():
    model, data = layered(2, TYPES), batch("crystal", "chain")
    summed = nablatom.sum_over_samples(partial_forces(model, data), "atom").block()
    pos = data["pos"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model({**data, "pos": pos})["total_energy"].sum(), pos)
    rows = summed.gradient("positions").samples
    assert len(rows) == len(pos)
    assert_same(summed.gradient("positions").values[..., 0], slope)
    assert_same(summed.values, model(data)["total_energy"].detach())


def test_beyond_the_reach_nothing_is_stored_and_nothing_is_missing():
    model, data = layered(2, TYPES), data_of(chain())
    rows = partial_forces(model, data).block().gradient("positions").samples
    near = np.abs(rows.column("sample") - rows.column("atom"))
    assert near.max() == 2
    assert len(rows) == 24 * 5 - 6
    order = np.lexsort(rows.values.T[::-1])
    assert (order == np.arange(len(rows))).all()
    assert jacobian(model, data)[0, 3:].abs().max() == 0


def test_permutation_moves_both_indices():
    model, structure = layered(2, TYPES), slab()
    order = np.random.default_rng(0).permutation(len(structure))
    expected = dense_partial_forces(model, data_of(structure))[order][:, order]
    assert_same(dense_partial_forces(model, data_of(structure[order])), expected)


def test_rotation_turns_every_row():
    model, structure = layered(2, TYPES), slab()
    turned = structure.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    turn = torch.tensor(np.linalg.solve(structure.cell.array, turned.cell.array))
    expected = dense_partial_forces(model, data_of(structure)) @ turn
    assert_same(dense_partial_forces(model, data_of(turned)), expected)


def test_edges_that_are_longer_than_the_model_reaches_do_not_count():
    model = layered(2, TYPES)
    near, far = (partial_forces(model, data_of(slab(), cutoff)).block() for cutoff in (3.0, 4.5))
    assert near.gradient("positions").samples == far.gradient("positions").samples
    assert_same(far.gradient("positions").values, near.gradient("positions").values)


def test_edges_in_any_order():
    model, data = layered(2, TYPES), data_of(slab())
    order = torch.randperm(data["edge_index"].shape[1], generator=torch.Generator().manual_seed(1))
    mixed = {
        **data,
        "edge_index": data["edge_index"][:, order],
        "edge_cell_shift": data["edge_cell_shift"][order],
    }
    for network in (model, layered(1, TYPES)):
        assert_same(dense_partial_forces(network, mixed), dense_partial_forces(network, data))


# what a model says of itself


@pytest.mark.parametrize("method", ["auto", "clusters", "coloring", "loop"])
def test_too_few_hops_are_noticed(method):
    model = Whole(layered(3, TYPES), hops=2).eval()
    with pytest.raises(ValueError, match="declares hops = 2"):
        partial_forces(model, data_of(chain()), method=method)


@pytest.mark.parametrize("method", ["auto", "one-pass"])
def test_one_hop_that_is_none_is_noticed(method):
    model = Whole(layered(2, TYPES), hops=1).eval()
    with pytest.raises(ValueError, match="declares hops = 1"):
        partial_forces(model, data_of(slab()), method=method)


def test_a_model_that_does_not_say_is_differentiated_by_all_atoms_of_the_frame():
    model, data = Whole(layered(2, TYPES)).eval(), batch("chain", "molecule")
    found = partial_forces(model, data)
    assert len(found.block().gradient("positions").samples) == 24**2 + 8**2
    assert_same(scattered(found, 32, (0, 24)), jacobian(model, data))
    with pytest.raises(ValueError, match="needs to know how far"):
        partial_forces(model, data, method="clusters")


def test_the_way_with_the_least_work_is_taken(monkeypatch):
    taken = []
    for name in ("clusters", "coloring", "loop"):
        way = planning.ROUTES[name]
        monkeypatch.setitem(planning.ROUTES, name, lambda t, n=name, w=way: taken.append(n) or w(t))
    one_pass = planning.in_one_pass
    monkeypatch.setattr(planning, "in_one_pass", lambda t: taken.append("one pass") or one_pass(t))
    big = data_of(rattled(bulk("Si", cubic=True).repeat(4)))
    partial_forces(layered(1, TYPES), big)
    partial_forces(layered(1, TYPES), big, atoms=[3])  # some of edges instead of all
    partial_forces(layered(2, TYPES), big)
    hidden = Whole(layered(3, TYPES, cutoff=6.0), hops=3).eval()  # its layers cannot be pruned
    partial_forces(hidden, data_of(bulk("Si", cubic=True).repeat(2), cutoff=6.0))
    assert taken == ["one pass", "clusters", "clusters", "loop"]


def test_one_pass_is_for_one_hop():
    with pytest.raises(ValueError, match="declares hops = 2"):
        partial_forces(layered(2, TYPES), data_of(slab()), method="one-pass")


class FromPositions(torch.nn.Module):
    """One hop, from positions and cell alone, as foreign models are."""

    hops, cutoff = 1, 3.0

    def forward(self, data):
        center, neighbor = data["edge_index"]
        frame = AtomicDataDict.frame_of_edges(data)
        shift = torch.einsum("ea,eab->eb", data["edge_cell_shift"], data["cell"][frame])
        vector = data["pos"][neighbor] - data["pos"][center] + shift
        pair = (vector.square().sum(1, keepdim=True) - 9.0) ** 2
        energies = pair.new_zeros(len(data["pos"]), 1).index_add(0, center, pair).tanh()
        return {**data, "atomic_energy": energies}


def test_a_model_of_one_hop_that_reads_positions():
    model, data = FromPositions().eval(), batch("slab", "small triclinic cell")
    for method in ("auto", "one-pass"):
        found = dense_partial_forces(model, data, method=method)
        assert_same(found, jacobian(model, data))


def test_unknown_words_are_refused():
    model, data = layered(1, TYPES), data_of(slab())
    with pytest.raises(ValueError, match="choose from auto"):
        partial_forces(model, data, method="fast")
    with pytest.raises(ValueError, match="choose from positions, strain, cell"):
        atom_energies(model, data, gradients=["stress"])
    with pytest.raises(ValueError, match="positions alone"):
        atom_energies(model, data, gradients=["strain"], method="coloring")
    with pytest.raises(KeyError, match="with_neighbors"):
        partial_forces(model, {"pos": data["pos"]})


# training, hygiene


@pytest.mark.parametrize("method", ["clusters", "coloring", "loop", "one-pass"])
def test_results_can_be_differentiated_in_training(method):
    """The derivative of a loss of partial forces by weights and positions, by differences."""
    model = layered(1 if method == "one-pass" else 2, TYPES).train()
    data = data_of(STRUCTURES["apart"]())
    weight = next(p for name, p in model.named_parameters() if name == "layer0.own")

    def loss(pos):
        found = partial_forces(model, {**data, "pos": pos}, method=method)
        return found.block().gradient("positions").values.pow(3).sum()

    pos = data["pos"].clone().requires_grad_()
    by_weight, by_pos = torch.autograd.grad(loss(pos), (weight, pos))
    for changed, slope, at in ((weight.data, by_weight, (1, 2)), (pos.data, by_pos, (1, 2))):
        ends = []
        for h in (1e-5, -2e-5):
            changed[at] += h
            ends.append(loss(pos).item())
        changed[at] += 1e-5
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[at].item(), rel=1e-6, abs=1e-10)


def test_evaluation_leaves_no_graph_and_inputs_as_they_are():
    model, data = layered(2, TYPES), data_of(slab())
    before = {key: (x.clone(), x._version, x.requires_grad) for key, x in data.items()}
    for method in ("auto", *METHODS):
        found = partial_forces(model, data, method=method).block()
        assert not found.values.requires_grad
        assert not found.gradient("positions").values.requires_grad
    for key, (x, version, requires_grad) in before.items():
        assert torch.equal(data[key], x)
        assert (data[key]._version, data[key].requires_grad) == (version, requires_grad)


def test_no_grad_and_inference_mode():
    model, data = layered(2, TYPES), data_of(slab())
    expected = dense_partial_forces(model, data)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert_same(dense_partial_forces(model, data), expected)
            assert_same(dense_partial_forces(model, data_of(slab())), expected)


def test_single_precision_stays_single():
    model, data = layered(2, TYPES), data_of(slab())
    expected = dense_partial_forces(model, data)
    single = {k: x.float() if x.dtype == F64 else x for k, x in data.items()}
    for method in ("auto", *METHODS):
        found = dense_partial_forces(layered(2, TYPES).float(), single, method=method)
        assert found.dtype == torch.float32
        assert_same(found.double(), expected, 1e-5)


def test_fields_of_ones_own_go_along():
    """A model that reads a number for each atom and one for each frame."""

    class Scaled(Whole):
        def forward(self, data):
            field = data["electric_field"][AtomicDataDict.frame_of_atoms(data)]
            data = self.network(data)
            energies = data["atomic_energy"] * data["weight_of_atom"] * field[:, :1]
            return {**data, "atomic_energy": energies}

    model, data = Scaled(layered(2, TYPES), hops=2).eval(), batch("slab", "chain")
    atoms = len(data["pos"])
    data["weight_of_atom"] = torch.linspace(1, 2, atoms, dtype=F64)[:, None]
    data["electric_field"] = torch.tensor([[2.0, 0, 0], [3.0, 0, 0]], dtype=F64)
    for method in ("clusters", "loop"):
        found = dense_partial_forces(model, data, method=method)
        assert_same(found, jacobian(model, data))


# the module


@pytest.mark.parametrize("vectorize", [False, True])
def test_module(vectorize):
    model, data = layered(2, TYPES), batch("slab", "chain")
    output = PartialForceOutput(model, vectorize=vectorize)
    assert (output.hops, output.cutoff, output.type_names) == (2, 3.0, TYPES)
    assert str(output.irreps_out["partial_forces"]) == "1x1o"
    found = output(data)
    expected = jacobian(model, data)
    assert_same(found["partial_forces"], expected)
    assert_same(found["forces"], expected.sum(0))
    assert_same(found["total_energy"], model(data)["total_energy"].detach())
    assert not found["forces"].requires_grad


@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("structure", ["small triclinic cell", "slab"])
def test_module_passes_on_what_the_model_gives(structure, layers, vectorize):
    """Whichever way was taken: one pass, clusters, or passes through the whole."""
    model, data = StressOutput(layered(layers, TYPES)), data_of(STRUCTURES[structure]())
    found, expected = PartialForceOutput(model, vectorize=vectorize)(data), model(data)
    assert found.keys() == expected.keys() | {"partial_forces"}
    for key in ("stress", "virial", "node_features", "atomic_energy", "total_energy", "forces"):
        assert_same(found[key], expected[key])
        assert not found[key].requires_grad


def test_module_sums_energies_of_atoms_that_the_model_does_not_sum():
    class Atomic(Whole):
        def __init__(self):
            super().__init__(layered(1, TYPES))
            self._init_irreps(irreps_out={"atomic_energy": "0e"})

        def forward(self, data):
            found = super().forward(data)
            return {k: x for k, x in found.items() if k != "total_energy"}

    model, data = Atomic(), batch("slab", "chain")
    output = PartialForceOutput(model)
    assert "total_energy" in output.irreps_out
    stale = {**data, "total_energy": torch.zeros(2, 1, dtype=F64)}
    assert_same(output(stale)["total_energy"], model.network(data)["total_energy"].detach())


def test_module_refuses_models_without_scalar_energies():
    class Vector(Whole):
        def __init__(self):
            super().__init__(layered(1, TYPES))
            self._init_irreps(irreps_out={"atomic_energy": "1o"})

    with pytest.raises(ValueError, match="gives scalars 'atomic_energy'"):
        PartialForceOutput(Vector())
    with pytest.raises(TypeError, match="wraps a graph module, got FromPositions"):
        PartialForceOutput(FromPositions())


def test_module_is_differentiable_when_asked_to_be():
    data = data_of(chain())
    found = PartialForceOutput(layered(2, TYPES), create_graph=True)(data)
    assert found["partial_forces"].requires_grad
    found = PartialForceOutput(layered(2, TYPES).train(), create_graph=False)(data)
    assert not found["partial_forces"].requires_grad


def test_module_gives_what_nequips_gives():
    nequip = pytest.importorskip("nequip.nn")

    class Theirs(nequip.GraphModuleMixin, torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network
            self._init_irreps(irreps_out={"atomic_energy": "0e"})

        def forward(self, data):
            return self.network(data)

    model, data = layered(2, TYPES), data_of(slab())
    theirs = nequip.PartialForceOutput(Theirs(model)).eval()({**data, "pos": data["pos"].clone()})
    ours = PartialForceOutput(model)(data)
    for key in ("partial_forces", "forces"):
        assert_same(ours[key], theirs[key].detach())
