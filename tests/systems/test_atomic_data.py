"""Atomic data: structures in and out, batches, edges, and what is refused."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

torch = pytest.importorskip("torch")

from nablatom.models import AtomicDataDict  # noqa: E402
from nablatom.systems import neighbor_pairs, strained_cells  # noqa: E402

from_ase, to_ase = AtomicDataDict.from_ase, AtomicDataDict.to_ase
CUTOFF = 4.0


def skewed(pbc=True):
    """Two kinds of atoms in a left-handed cell smaller than the cutoff, one outside of it."""
    cell = [[0.2, 2.9, 0.1], [2.7, 0.3, 0.0], [0.4, 0.1, 3.3]]
    return ase.Atoms("CuAu", [[0.1, 0.2, 0.3], [8.3, -1.2, 2.0]], cell=cell, pbc=pbc)


STRUCTURES = {
    "crystal": bulk("Cu", a=3.6),
    "small, left-handed": skewed(),
    "slab": skewed(pbc=(True, True, False)),
    "wire": skewed(pbc=(False, True, False)),
    "molecule": molecule("CH3CH2OH"),
    "molecule in a box": skewed(pbc=False),
    "one atom": ase.Atoms("Cu"),
    "far apart": ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 50.0]]),
    "nothing": ase.Atoms(),
}


def all_pairs(structure, cutoff):
    """Every image of every atom, one after the other: center, neighbor, shift, vector."""
    reach = range(-4, 5)
    axes = [reach if periodic else [0] for periodic in structure.pbc]
    found = set()
    for shift in np.stack(np.meshgrid(*axes), -1).reshape(-1, 3):
        for i, a in enumerate(structure.positions):
            for j, b in enumerate(structure.positions):
                vector = b - a + shift @ structure.cell.array
                if (i != j or shift.any()) and np.linalg.norm(vector) < cutoff:
                    found.add((i, j, *shift.tolist(), *np.round(vector, 9).tolist()))
    return found


@pytest.mark.parametrize("name", STRUCTURES)
def test_edges_are_all_pairs_within_the_cutoff(name):
    structure = STRUCTURES[name].copy()
    structure.wrap()  # so that the shifts of the slow list are few
    data = AtomicDataDict.with_edge_vectors(from_ase(structure, CUTOFF))
    columns = (
        data["edge_index"].T,
        data["edge_cell_shift"].long(),
        data["edge_vectors"].numpy().round(9) + 0.0,
    )
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    found = [(*index, *shift, *vector) for index, shift, vector in rows]
    assert len(found) == len(set(found))
    assert set(found) == all_pairs(structure, CUTOFF)
    lengths = data["edge_vectors"].norm(dim=1, keepdim=True)
    torch.testing.assert_close(data["edge_lengths"], lengths, rtol=0, atol=1e-14)
    assert data["edge_lengths"].shape == (len(found), 1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_there_and_back(name):
    structure = STRUCTURES[name]
    back = to_ase(from_ase(structure, CUTOFF))
    assert back == structure
    assert back.calc is None


def test_results_there_and_back():
    frames = strained_cells(3, "CuAu")
    back = to_ase(from_ase(frames))
    for frame, again in zip(frames, back, strict=True):
        assert again.get_potential_energy() == frame.get_potential_energy()
        np.testing.assert_array_equal(again.get_forces(), frame.get_forces())
        np.testing.assert_allclose(again.get_stress(), frame.get_stress(), rtol=0, atol=1e-17)


def test_velocities_and_the_field_there_and_back():
    structure = skewed()
    structure.set_velocities([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6]])
    structure.info["electric_field"] = [0.0, 0.0, 0.25]
    data = from_ase(structure)
    np.testing.assert_allclose(data["velocities"][1], [-0.4, 0.5, 0.6], rtol=1e-15)
    assert data["electric_field"].tolist() == [[0.0, 0.0, 0.25]]
    again = to_ase(data)
    np.testing.assert_allclose(again.get_momenta(), structure.get_momenta(), rtol=1e-15)
    assert again.info["electric_field"].tolist() == [0.0, 0.0, 0.25]
    structure.info = {}
    both = from_ase([structure, ase.Atoms("Cu")])
    assert both["velocities"].isnan().any(1).tolist() == [False, False, True]
    assert [frame.has("momenta") for frame in to_ase(both)] == [True, False]


def test_results_of_other_positions_are_no_labels():
    structure = bulk("Cu", cubic=True)
    structure.calc = EMT()
    structure.get_potential_energy()
    assert "total_energy" in from_ase(structure)
    structure.positions[0] += 0.1
    assert "total_energy" not in from_ase(structure)


def test_a_batch_is_its_frames():
    frames = [s for s in STRUCTURES.values() if set(s.symbols) <= {"Cu", "Au"}]
    single = [from_ase(frame, CUTOFF, types=["Au", "Cu"]) for frame in frames]
    batch = from_ase(frames, CUTOFF, types=["Au", "Cu"])
    together = AtomicDataDict.batched(single)
    assert set(batch) == set(together)
    for key, values in batch.items():
        assert torch.equal(values, together[key]), key
    assert AtomicDataDict.num_frames(batch) == len(frames)
    for one, again in zip(single, AtomicDataDict.unbatched(batch), strict=True):
        assert int(again.pop("num_atoms")) == len(one["pos"])
        assert set(one) == set(again)
        for key, values in one.items():
            assert torch.equal(values, again[key]), key


def test_atoms_of_a_batch_may_stand_in_any_order():
    batch = from_ase([skewed(), molecule("H2O"), ase.Atoms("Cu")], CUTOFF)
    order = torch.tensor([3, 0, 5, 2, 1, 4])
    shuffled = {
        key: values[order] if key in ("pos", "batch", "atomic_numbers") else values
        for key, values in batch.items()
    }
    shuffled = AtomicDataDict.with_neighbors(shuffled, CUTOFF)
    one = AtomicDataDict.unbatched(batch)[0]
    again = AtomicDataDict.unbatched(shuffled)[0]
    for key, values in one.items():
        assert torch.equal(values, again[key]), key


def test_sums_over_atoms():
    data = from_ase([skewed(), ase.Atoms(), molecule("H2O"), ase.Atoms()])
    values = torch.arange(10.0).reshape(5, 2)
    expected = torch.tensor([[2.0, 4.0], [0, 0], [18.0, 21.0], [0, 0]])
    assert torch.equal(AtomicDataDict.sum_over_atoms(values, data), expected)
    one = AtomicDataDict.sum_over_atoms(values[:2], from_ase(skewed()))
    assert torch.equal(one, expected[:1])


def test_labels_that_a_frame_lacks_are_nan():
    with_forces = skewed()
    with_forces.calc = SinglePointCalculator(with_forces, energy=1.0, forces=np.ones((2, 3)))
    data = from_ase([with_forces, ase.Atoms("Cu")])
    assert data["total_energy"][0] == 1.0
    assert data["total_energy"][1].isnan()
    assert data["forces"].isnan().any(1).tolist() == [False, False, True]
    energies = [s.calc and s.calc.results["energy"] for s in to_ase(data)]
    assert energies == [1.0, None]


@pytest.mark.parametrize(("key", "rows", "axes"), [("partial_forces", 1, (3,)), ("hessian", 3, ())])
def test_pairs_of_atoms_stand_on_the_diagonal(key, rows, axes):
    random = torch.Generator().manual_seed(0)
    frames = [
        {"pos": torch.zeros(n, 3), key: torch.rand(rows * n, rows * n, *axes, generator=random)}
        for n in (2, 1)
    ]
    batch = AtomicDataDict.batched(frames)
    assert torch.equal(batch[key][: 2 * rows, : 2 * rows], frames[0][key])
    assert torch.equal(batch[key][2 * rows :, 2 * rows :], frames[1][key])
    assert not batch[key][: 2 * rows, 2 * rows :].any()
    assert not batch[key][2 * rows :, : 2 * rows].any()
    for one, again in zip(frames, AtomicDataDict.unbatched(batch), strict=True):
        assert torch.equal(again[key], one[key])


def test_fields_of_your_own():
    frames = [{"pos": torch.zeros(n, 3), "spin": torch.full((n, 1), float(n))} for n in (2, 1)]
    batch = AtomicDataDict.batched(frames, rows={"spin": "atoms"})
    assert batch["spin"].flatten().tolist() == [2.0, 2.0, 1.0]
    assert AtomicDataDict.unbatched(batch, {"spin": "atoms"})[1]["spin"].tolist() == [[1.0]]
    with pytest.raises(KeyError, match=r"the field 'spin'; say rows=\{'spin': 'atoms'\}"):
        AtomicDataDict.batched(frames)
    with pytest.raises(KeyError, match="the field 'spin'"):
        AtomicDataDict.unbatched(batch)


def test_gradients_have_the_rows_of_their_inputs():
    frames = [from_ase(skewed(), 3.0), from_ase(molecule("H2O"), 3.0)]
    for frame in frames:
        for key in ("pos", "cell"):
            frame[f"d(total_energy)/d({key})"] = torch.rand_like(frame[key])
    again = AtomicDataDict.unbatched(AtomicDataDict.batched(frames))
    for frame, found in zip(frames, again, strict=True):
        for key in ("d(total_energy)/d(pos)", "d(total_energy)/d(cell)"):
            assert torch.equal(found[key], frame[key])
    frames[0]["d(a)/d(b)"] = torch.zeros(1)
    with pytest.raises(KeyError, match="no rule for the rows of the field"):
        AtomicDataDict.batched(frames[:1])


def test_one_cell_serves_with_and_without_the_axis_of_frames():
    data = from_ase(skewed(), CUTOFF)
    flat = {**data, "cell": data["cell"][0], "pbc": data["pbc"][0]}
    vectors = AtomicDataDict.with_edge_vectors(data)["edge_vectors"]
    assert torch.equal(AtomicDataDict.with_edge_vectors(flat)["edge_vectors"], vectors)
    again = AtomicDataDict.with_neighbors(flat, CUTOFF)
    assert torch.equal(again["edge_index"], data["edge_index"])
    assert AtomicDataDict.batched([flat, flat])["cell"].shape == (2, 3, 3)


def test_edge_vectors_that_are_there_stay():
    data = from_ase(skewed(), CUTOFF)
    leaf = torch.ones(data["edge_index"].shape[1], 3, requires_grad=True)
    with_leaf = AtomicDataDict.with_edge_vectors({**data, "edge_vectors": leaf})
    assert with_leaf["edge_vectors"] is leaf
    with_leaf["edge_lengths"].sum().backward()
    torch.testing.assert_close(leaf.grad, leaf.detach() / 3**0.5)
    assert "edge_vectors" not in AtomicDataDict.with_neighbors(with_leaf, CUTOFF)


def test_edge_vectors_follow_positions_and_cell():
    data = from_ase([skewed(), bulk("Cu")], 3.0)

    def lengths(positions, cell):
        moved = {**data, "pos": positions, "cell": cell}
        return AtomicDataDict.with_edge_vectors(moved)["edge_lengths"]

    leaves = [data[key].clone().requires_grad_() for key in ("pos", "cell")]
    assert torch.autograd.gradcheck(lengths, leaves)
    assert torch.autograd.gradgradcheck(lengths, leaves)


def test_lengths_of_nothing_have_no_slope():
    vectors = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    length = AtomicDataDict.with_edge_vectors({"edge_vectors": vectors})["edge_lengths"]
    (slope,) = torch.autograd.grad(length.sum(), vectors, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), vectors)
    assert not slope.any()
    assert not curvature.any()


FUNCTIONS = {
    "with_neighbors": lambda data: AtomicDataDict.with_neighbors(data, 3.0),
    "with_edge_vectors": AtomicDataDict.with_edge_vectors,
    "with_types": lambda data: AtomicDataDict.with_types(data, ["Cu", "Au"]),
    "with_one_hot_types": lambda data: AtomicDataDict.with_one_hot_types(data, ["Cu", "Au"]),
    "batched": lambda data: AtomicDataDict.batched([data, data]),
    "unbatched": AtomicDataDict.unbatched,
    "to_ase": to_ase,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_data_is_never_edited(name):
    data = from_ase(skewed(), CUTOFF)
    given = dict(data)
    versions = {key: values._version for key, values in data.items()}
    copies = {key: values.clone() for key, values in data.items()}
    result = FUNCTIONS[name](data)
    assert result is not data
    assert data.keys() == given.keys()
    for key, values in given.items():
        assert data[key] is values
        assert values._version == versions[key]
        assert torch.equal(values, copies[key])


def test_precision_and_device_follow_what_is_asked():
    data = from_ase(skewed(), CUTOFF, dtype=torch.float32, device="cpu")
    assert data["pos"].dtype is data["cell"].dtype is torch.float32
    assert AtomicDataDict.with_edge_vectors(data)["edge_vectors"].dtype is torch.float32
    pairs = neighbor_pairs([skewed()], CUTOFF)
    assert data["edge_index"].shape == (2, len(pairs))


def broken(**arrays):
    structure = skewed()
    structure.arrays |= {key: np.array(values) for key, values in arrays.items()}
    return structure


def flat_cell():
    structure = skewed()
    structure.cell[1] = 0.0
    return structure


def prepared(**fields):
    data = {**from_ase(skewed(), 4.0), **fields}
    return AtomicDataDict.prepared(data, cutoff=4.0, types=["Cu", "Au"])


def without_images(data):
    return {key: x for key, x in data.items() if key != "edge_cell_shift"}


def test_edges_of_open_frames_need_no_images():
    data = from_ase(molecule("H2O"), 2.0)
    expected = AtomicDataDict.with_edge_vectors(data)["edge_vectors"]
    found = AtomicDataDict.with_edge_vectors(without_images(data))["edge_vectors"]
    assert torch.equal(found, expected)


def test_types_as_columns():
    data = from_ase([skewed(), skewed()], dtype=torch.float32)
    found = AtomicDataDict.with_one_hot_types(data, ["Au", "Cu"])
    numbers = torch.tensor([79, 29], dtype=torch.float32)
    assert found["node_attrs"].dtype == torch.float32
    assert torch.equal(found["node_attrs"] @ numbers, data["atomic_numbers"].float())
    assert torch.equal(found["node_attrs"].argmax(1), found["atom_types"])


def test_many_positions_at_once():
    data = from_ase(skewed(), 4.0)
    shifts = torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)

    def lengths(shift):
        moved = torch.cat([data["pos"][:1] + shift, data["pos"][1:]])
        return prepared(pos=moved)["edge_lengths"]

    expected = torch.stack([lengths(shift) for shift in shifts])
    torch.testing.assert_close(torch.vmap(lengths)(shifts), expected)


NAN = [[0, 0, 0], [0, np.nan, 0]]
REFUSED = {
    "NaN": (lambda: from_ase([skewed(), broken(positions=NAN)]), "frame 1: the position of atom 1"),
    "flat cell": (lambda: from_ase(flat_cell()), "frame 0: is periodic along abc"),
    "no frames": (lambda: from_ase([]), "no frames to batch"),
    "unknown element": (
        lambda: from_ase([ase.Atoms("Cu"), molecule("H2O")], types=["Cu", "H"]),
        r"frame 1: atom 0 \(O\) is of an element that the model does not know; its types are Cu, H",
    ),
    "other types": (
        lambda: AtomicDataDict.with_types(from_ase(skewed(), types=["Au", "Cu"]), ["Cu", "Au"]),
        r"atom 0 \(Cu\) is of type 1, but the types are 0 Cu, 1 Au",
    ),
    "type out of range": (
        lambda: AtomicDataDict.with_types(
            {"pos": torch.zeros(1, 3), "atom_types": torch.tensor([2])}, ["Cu"]
        ),
        "frame 0: atom 0 is of type 2, but the types are 0 Cu",
    ),
    "short list": (
        lambda: AtomicDataDict.prepared(from_ase(skewed(), 3.0), cutoff=4.0, types=["Cu", "Au"]),
        "frame 0 has neighbors within 3 Å, but the model reaches 4 Å",
    ),
    "NaN for a model": (
        lambda: prepared(pos=torch.tensor([[0.0, 0, 0], [0, torch.inf, 0]])),
        r"frame 0: the position of atom 1 is \[0.0, inf, 0.0\]; expected three finite numbers",
    ),
    "cell for a model": (lambda: prepared(cell=torch.full((3, 3), torch.nan)), "the cell is .*nan"),
    "cutoff": (lambda: from_ase(skewed(), -1.0), "the cutoff must be a positive distance"),
    "NaN in data": (
        lambda: AtomicDataDict.with_neighbors({"pos": torch.full((1, 3), torch.nan)}, 2.0),
        "frame 0: the position of atom 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


MISSING = {
    "edges": (
        lambda: AtomicDataDict.with_edge_vectors(from_ase(skewed())),
        "no field 'edge_index'",
    ),
    "images of edges": (
        lambda: AtomicDataDict.with_edge_vectors(without_images(from_ase(skewed(), 4.0))),
        "no field 'edge_cell_shift', without which edges of periodic frames do not say",
    ),
    "edges of a model": (
        lambda: AtomicDataDict.prepared(from_ase(skewed()), cutoff=4.0, types=["Cu", "Au"]),
        r"no field 'edge_index', which the model reads; make it with from_ase\(structure, cut",
    ),
    "types": (
        lambda: AtomicDataDict.with_types({"pos": torch.zeros(1, 3)}, ["Cu"]),
        "no field 'atom_types', and no 'atomic_numbers'",
    ),
    "elements": (lambda: to_ase({"pos": torch.zeros(1, 3)}), "no field 'atomic_numbers'"),
    "edges of a frame": (
        lambda: AtomicDataDict.batched([from_ase(skewed(), 3.0), from_ase(skewed())]),
        "frame 1 has no field 'edge_index', which others have",
    ),
}


def test_a_path_is_no_structure():
    with pytest.raises(TypeError, match=r"expected ase.Atoms, got str; ase.io.read\(path, ':'\)"):
        from_ase("copper.xyz")


@pytest.mark.parametrize("name", MISSING)
def test_missing_fields_are_named(name):
    call, message = MISSING[name]
    with pytest.raises(KeyError, match=message):
        call()
