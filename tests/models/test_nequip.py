"""NequIP keeps to what every model of atoms keeps to, and to its own promises."""

import copy
import pickle

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk

from nablatom.models import ZBL, AtomicDataDict, NequIP, NequIPSettings, messages
from nablatom.models.edge_table import edge_table, with_edge_table
from nablatom.models.harmonics import spherical_harmonics
from nablatom.models.irreps import Irreps, o3
from nablatom.models.paths import message_sizes, paths
from nablatom.models.radial import BesselBasis, envelope
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.testing import MODEL_CHECKS, assert_model_contract

TYPES = ("Si", "O")
BASE = {
    "types": TYPES,
    "cutoff": 4.2,
    "layers": 2,
    "features": 3,
    "radial_hidden": (6,),
    "average_neighbors": 12.0,
    "shifts": {"Si": -0.5, "O": 0.2},
}
MODELS = {
    "l_max 1": {},
    "l_max 2, one parity, ZBL": {"l_max": 2, "parity": False, "zbl": True, "layers": 3},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return NequIP(**(BASE | MODELS[request.param])).eval()


@pytest.mark.parametrize("check", [check for check in MODEL_CHECKS if check != "dynamics"])
def test_contract(model, check):
    assert_model_contract(model, checks=[check])


def test_dynamics():
    """Conservation of energy, of the smaller model alone: it takes many steps."""
    assert_model_contract(NequIP(**BASE).eval(), checks=["dynamics"])


def test_zbl_alone():
    assert_model_contract(
        ZBL(TYPES, 3.0).eval(), checks=["forces", "strain", "batch", "smoothness"]
    )


def test_zbl_of_one_pair():
    """The universal potential worked out by hand for O-O at 1 Å, far from the cutoff of 300."""
    data = AtomicDataDict.from_ase(ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.0]]), cutoff=300.0)
    x = 1.0 * 2 * 8**0.23 / 0.46850
    screening = (
        0.02817 * np.exp(-0.20162 * x)
        + 0.28022 * np.exp(-0.40290 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.18175 * np.exp(-3.19980 * x)
    )
    energy = float(ZBL(("O",), 300.0)(data)["total_energy"])
    assert energy == pytest.approx(14.399645 * 64 * screening, rel=1e-12)


def structure(cells=1):
    atoms = bulk("Si", "diamond", 5.43, cubic=True) * (cells, 1, 1)
    atoms.symbols[::3] = "O"
    atoms.rattle(0.1, seed=2)
    return atoms


def data_of(atoms, cutoff=4.2):
    return AtomicDataDict.from_ase(atoms, cutoff=cutoff, types=TYPES)


def test_energy_of_free_atoms_is_the_shift(model):
    atoms = ase.Atoms("OSi", [[0, 0, 0], [0, 0, 9.0]])
    energies = model(data_of(atoms))["atomic_energy"]
    assert energies[:, 0].tolist() == [0.2, -0.5]


def test_longer_neighbor_lists_change_nothing(model):
    short, long = (pair_derivatives(model, data_of(structure(), cutoff)) for cutoff in (4.2, 6.0))
    assert torch.allclose(
        short.outputs["atomic_energy"], long.outputs["atomic_energy"], rtol=0, atol=1e-13
    )
    assert torch.allclose(short.positions, long.positions, rtol=0, atol=1e-13)


def test_order_of_edges_changes_nothing(model):
    data = data_of(structure())
    order = torch.randperm(data["edge_index"].shape[1], generator=torch.manual_seed(0))
    shuffled = {
        **data,
        "edge_index": data["edge_index"][:, order],
        "edge_cell_shift": data["edge_cell_shift"][order],
    }
    found, expected = pair_derivatives(model, shuffled), pair_derivatives(model, data)
    assert torch.allclose(found.positions, expected.positions, rtol=0, atol=1e-13)
    assert torch.allclose(found.strain, expected.strain, rtol=0, atol=1e-12)


def test_second_derivatives_of_parameters():
    """The gradient of a loss of forces against finite differences."""
    model, data = NequIP(**BASE).train(), data_of(structure())

    def loss():
        derivatives = pair_derivatives(model, data)
        return derivatives.positions.square().sum() + derivatives.strain.square().sum()

    weights = [model.layers[0].radial.weights[0], model.layers[1].after["0e"], model.embedding]
    gradients = torch.autograd.grad(loss(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, generator=torch.manual_seed(1), dtype=weight.dtype)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(direction, alpha=sign * 1e-5)
            values.append(float(loss().detach()))
            with torch.no_grad():
                weight.sub_(direction, alpha=sign * 1e-5)
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx(float((direction * gradient).sum()), rel=1e-6)


def test_coincident_atoms_have_finite_derivatives():
    model = NequIP(**BASE).eval()
    derivatives = pair_derivatives(model, data_of(ase.Atoms("SiO", np.zeros((2, 3)))))
    assert torch.isfinite(derivatives.outputs["total_energy"]).all()
    assert torch.isfinite(derivatives.positions).all()


def test_single_precision():
    model = NequIP(**BASE).eval()
    data = data_of(structure())
    exact = pair_derivatives(model, data)
    single = {k: v.float() if v.is_floating_point() else v for k, v in data.items()}
    rough = pair_derivatives(copy.deepcopy(model).float(), single)
    assert rough.outputs["total_energy"].dtype == rough.positions.dtype == torch.float32
    scale = float(exact.positions.abs().max())
    assert float((rough.positions - exact.positions).abs().max()) < 1e-5 * scale


def test_weights_with_fewer_digits_than_positions():
    model = NequIP(**BASE, dtype=torch.float32).eval()
    outputs = model(data_of(structure()))
    assert outputs["total_energy"].dtype == torch.float64
    assert outputs["node_features"].dtype == torch.float32


def test_the_seed_makes_the_weights():
    same, other = NequIP(**BASE, seed=3), NequIP(**BASE, seed=4)
    again = NequIP(**BASE, seed=3)
    assert torch.equal(same.embedding, again.embedding)
    assert not torch.equal(same.embedding, other.embedding)


def test_copies_and_pickles(model):
    data = data_of(structure())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(data)["total_energy"], model(data)["total_energy"])


def test_irreps(model):
    for field in ("atomic_energy", "total_energy"):
        assert model.irreps_out[field] == Irreps("1x0e")
    assert model.irreps_in["pos"] == Irreps("1x1o")
    assert model.hops == len(model.layers)


def test_unknown_elements_and_short_lists():
    model = NequIP(**BASE).eval()
    with pytest.raises(ValueError, match=r"frame 0: atom 0 \(C\).*its types are Si, O"):
        model(AtomicDataDict.from_ase(ase.Atoms("C"), cutoff=4.2))
    with pytest.raises(ValueError, match=r"within 3 Å, but the model reaches 4.2 Å"):
        model(AtomicDataDict.from_ase(structure(), cutoff=3.0))


# -- settings ---------------------------------------------------------------------------------

SETTINGS = {
    "no element": ({"types": ["Xx"]}, "types: 'Xx' is no element"),
    "twice": ({"types": ["Si", "Si"]}, "types: an element stands twice"),
    "no types": ({"types": []}, "types: .*at least 1 item"),
    "cutoff": ({"cutoff": 0.0}, "cutoff: .*greater than 0, got 0.0"),
    "infinite": ({"cutoff": float("inf")}, "cutoff: .*finite number"),
    "layers": ({"layers": 0}, "layers: .*greater than or equal to 1, got 0"),
    "widths": ({"features": [4, 4, 4]}, "one for each l from 0 to l_max = 1"),
    "shifts": ({"shifts": {"Si": 1.0}}, "shifts are for Si; expected Si, O"),
    "neighbors": ({"average_neighbors": 0.0}, "average_neighbors are 0.0, not positive"),
    "hidden": ({"radial_hidden": [0]}, "no neurons"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_out_of_range(name):
    change, told = SETTINGS[name]
    with pytest.raises(ValueError, match=told):
        NequIP(**(BASE | change))


def test_yaml(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text(
        "model: nequip\ntypes: [Si, O]\ncutoff: 4.2\nlayers: 2\nfeatures: 3\n"
        "radial_hidden: [6]\naverage_neighbors: 12\nshifts: {Si: -0.5, O: 0.2}\n"
    )
    model = NequIP.from_yaml(file)
    assert model.settings == NequIPSettings.checked(BASE)
    data = data_of(structure())
    assert torch.equal(model(data)["total_energy"], NequIP(**BASE)(data)["total_energy"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("types: [Si", "is not a YAML file"),
        ("- Si", "should hold settings as 'name: value'"),
        ("model: mace\ntypes: [Si]", "describes the model 'mace'"),
        ("types: [Si]", "cutoff: is missing"),
        ("types: [Si]\ncutoff: 4\nlayer: 2", "layer: there is no such setting; choose from types"),
    ],
)
def test_yaml_that_tells_no_model(tmp_path, text, told):
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(ValueError, match=told):
        NequIP.from_yaml(tmp_path / "model.yaml")


# -- parts ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by e3nn, when called
@pytest.mark.parametrize("l_max", range(5))
def test_harmonics_are_those_of_e3nn(l_max):
    directions = torch.randn(20, 3, generator=torch.manual_seed(0), dtype=torch.float64)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    expected = o3.spherical_harmonics(
        list(range(l_max + 1)), directions, normalize=False, normalization="component"
    )
    assert torch.allclose(spherical_harmonics(directions, l_max), expected, rtol=0, atol=1e-12)


def test_envelope_and_its_derivatives_end_at_the_cutoff():
    x = torch.tensor([1 - 1e-9], dtype=torch.float64, requires_grad=True)
    value = envelope(x, 6)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert max(abs(float(y.detach())) for y in (value, first, second)) < 1e-5
    assert float(envelope(torch.tensor(0.0), 6)) == 1


def test_bessel_functions_are_orthogonal():
    """∫ B_m B_n r² dr = 0 for m ≠ n, without the envelope."""
    basis = BesselBasis(4.0, 3)
    r = torch.linspace(1e-6, 4.0, 20_001, dtype=torch.float64)[:, None]
    values = basis(r) / envelope(r / 4.0, 6).clamp_min(1e-300)
    values = torch.where(r < 4.0, values, 0.0)
    overlap = torch.trapezoid(
        values[:, :, None] * values[:, None] * r[..., None] ** 2, r[:, :, None], dim=0
    )
    expected = torch.eye(3, dtype=torch.float64) * overlap[0, 0]
    assert float(overlap[0, 0]) > 0.1
    assert torch.allclose(overlap, expected, rtol=0, atol=1e-5)


CENTERS = {
    "none": [],
    "a crystal": [0, 0, 1, 1, 2, 2],
    "unsorted": [2, 0, 1, 0, 2, 1, 1],
    "one with many": [0] * 40 + [1, 2, 3, 1, 2, 3],
    "without neighbors": [3, 3, 5],
}


@pytest.mark.parametrize("name", CENTERS)
def test_every_edge_has_one_slot_in_a_row_of_its_center(name):
    centers = torch.tensor(CENTERS[name], dtype=torch.int64)
    table = edge_table(centers, atoms=7)
    taken = table.slots[table.slots < len(centers)]
    assert sorted(taken.tolist()) == list(range(len(centers)))
    for row, center in zip(table.slots, table.centers, strict=True):
        assert {int(centers[slot]) for slot in row if slot < len(centers)} == {int(center)}


def test_slots_left_empty_are_few():
    assert edge_table(torch.tensor(CENTERS["a crystal"]), 3).slots.numel() == 6
    table = edge_table(torch.tensor(CENTERS["one with many"]), 4)
    assert table.slots.numel() < 2 * 46  # 160 if every row had to hold the 40


def test_a_table_in_the_data_is_used(model):
    data = data_of(structure())
    given = model(with_edge_table(data))
    assert torch.equal(given["total_energy"], model(data)["total_energy"])
    table = with_edge_table(data)
    wrong = {**table, "edge_slots": table["edge_slots"].flip(0)}
    assert not torch.allclose(model(wrong)["total_energy"], model(data)["total_energy"])


def test_paths_are_those_that_parity_and_triangle_allow():
    irreps_in, wanted = Irreps("2x0e + 2x0o + 3x1o + 3x1e"), Irreps("5x0e + 1x1o + 1x1e")
    found = {
        (source, path.l2, target)
        for path in paths(irreps_in, 2, wanted)
        for source, target in zip(path.sources, path.targets, strict=True)
    }
    expected = {
        (str(ir), l2, str(out))
        for _, ir in irreps_in
        for l2 in range(3)
        for out in ir * o3.Irrep(l2, (-1) ** l2)
        if out in wanted
    }
    assert found == expected
    # 0e from 0e and 1o; 1o from 0e, 1o (twice) and 1e
    assert message_sizes(paths(irreps_in, 2, wanted))["0e"] == 2 + 3
    assert message_sizes(paths(irreps_in, 2, wanted))["1o"] == 2 + 3 + 3 + 3


# -- compiled ---------------------------------------------------------------------------------


def test_traced_as_one_graph_for_all_sizes():
    """Forces by torch.func.grad, in one graph, compiled once for every number of atoms.

    Without the last step to machine code, which takes long and is torch's own.
    """
    model = NequIP(**BASE).eval()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    def slopes(vectors, data):
        def energy(vectors):
            return model({**data, "edge_vectors": vectors})["total_energy"].sum()

        return torch.func.grad(energy)(vectors)

    compiled = torch.compile(slopes, fullgraph=True, dynamic=True, backend=backend)
    for cells in (1, 2, 3):
        data = data_of(structure(cells))
        vectors = AtomicDataDict.with_edge_vectors(data)["edge_vectors"]
        kept = ("pos", "cell", "atom_types", "edge_index", "edge_cell_shift")
        given = model.arranged({key: data[key] for key in kept})
        expected = pair_derivatives(model, data).by_vectors
        assert torch.allclose(compiled(vectors, given), expected, rtol=0, atol=1e-13)
    assert len(graphs) == 1


def test_without_a_table_compiled_code_is_right_too():
    model, data = NequIP(**BASE).eval(), data_of(structure())
    data.pop("neighbor_cutoff")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    expected = model(data)["total_energy"]
    assert torch.allclose(compiled(data)["total_energy"], expected, rtol=1e-13)


@pytest.mark.parametrize("piece", [1, 100, 10**6])
def test_energies_follow_edges_that_move(model, piece, monkeypatch):
    """Any motions, with tables that have empty slots; by finite differences of the vectors."""
    monkeypatch.setattr(messages, "PIECE", piece)
    structure = bulk("Si", cubic=True)
    structure.rattle(0.1, seed=2)
    del structure[[0, 3]]
    data = AtomicDataDict.from_ase(structure, cutoff=4.2, types=TYPES)
    data = AtomicDataDict.with_edge_vectors(data)
    vectors, generator = data["edge_vectors"], torch.Generator().manual_seed(5)
    motions = torch.randn(len(vectors), 4, 3, generator=generator, dtype=torch.float64)
    outputs, found = model.moved(data, motions)
    torch.testing.assert_close(outputs["atomic_energy"], model(data)["atomic_energy"])
    for k, motion in enumerate(motions.unbind(1)):
        high, low = (
            model({**data, "edge_vectors": vectors + h * motion})["atomic_energy"][:, 0]
            for h in (1e-5, -1e-5)
        )
        torch.testing.assert_close(found[:, k], (high - low) / 2e-5, rtol=1e-7, atol=1e-7)
