"""The contract of calculators that store gradients themselves; a new one adds a row."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

import nablatom
from nablatom import Labels, TensorMap
from nablatom.conversion import from_metatensor
from nablatom.descriptors import (
    G2,
    G4,
    G5,
    AtomicComposition,
    AtomicSymmetryFunctions,
    Bispectrum,
    Cutoff,
    EquivariantPowerSpectrum,
    Gaussian,
    Gto,
    LodeSphericalExpansion,
    MixedTypes,
    NeighborList,
    SmearedPowerLaw,
    SoapPowerSpectrum,
    SortedDistances,
    SphericalBessel,
    SphericalExpansion,
    SphericalExpansionByPair,
    Workspace,
    verify_gradients,
)
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.harmonics import spherical_harmonics

ALL = ("positions", "strain", "cell")
DENSITY = SphericalExpansion(cutoff=Cutoff(3.8, 1.5), radial=Gto(1), max_angular=2)
FUNCTIONS = (G2(0.5), G5(0.1, 2.0), G4(0.05, 3.0, -1.0), G2(4.0, 1.0))
LODE = LodeSphericalExpansion(
    radial=Gto(2, radius=2.0), density=SmearedPowerLaw(1.0), max_angular=2
)
MIXED = MixedTypes(
    DENSITY, (1, 6, 8, 13, 29, 79), [[0.3, 1], [1, 0], [-0.5, 0.2], [2, 0.1], [0.7, 0.7], [0.2, 1]]
)
DESCRIPTORS = {
    "equivariant": EquivariantPowerSpectrum(DENSITY, max_lambda=2),
    "of two densities": EquivariantPowerSpectrum(
        DENSITY, SphericalExpansion(cutoff=Cutoff(3.0), radial=SphericalBessel(0), max_angular=1)
    ),
    "bispectrum": Bispectrum(DENSITY),
    "mixed types": MIXED,
    "of mixed types": EquivariantPowerSpectrum(MIXED, max_lambda=1),
    "pseudoscalars": Bispectrum(DENSITY, -1),
    "symmetry functions": AtomicSymmetryFunctions(FUNCTIONS, Cutoff(3.8, None)),
    "sorted distances": SortedDistances(3.8, 4),
    "distances of all": SortedDistances(3.8, 4, separate_neighbor_types=False),
    "composition": AtomicComposition(),
    "composition of systems": AtomicComposition(per_system=True),
}
PERIODIC = {
    "lode": LODE,
    "lode of a Gaussian": LodeSphericalExpansion(
        radial=Gto(1, radius=2.0), density=Gaussian(1.0), max_angular=1, center_weight=0.3
    ),
    "lode of dispersion": LodeSphericalExpansion(
        radial=SphericalBessel(1, radius=2.5), density=SmearedPowerLaw(1.0, 6.0), max_angular=1
    ),
    "short and long range": EquivariantPowerSpectrum(DENSITY, LODE, max_lambda=1),
}
EVERY = DESCRIPTORS | PERIODIC
PAIRS = {
    "both directions": NeighborList(3.5),
    "one direction": NeighborList(3.5, full_neighbor_list=False),
    "with themselves": NeighborList(3.5, self_pairs=True),
    "expansion by pair": SphericalExpansionByPair(
        cutoff=Cutoff(3.5), radial=Gto(1), max_angular=1, center_weight=0.7
    ),
}


def alloy(pbc=True, seed=0):
    random = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.3, 0.0], [0.4, 3.8, 0.5], [-0.2, 0.1, 4.4]])
    scaled = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = scaled @ cell + random.normal(scale=0.1, size=(4, 3))
    return ase.Atoms("CuAuAlCu", positions, cell=cell, pbc=pbc)


def rattled(name):
    structure = molecule(name)
    structure.rattle(0.05, seed=1)
    return structure


def left_handed():
    structure = alloy(seed=1)
    structure.set_cell(structure.cell.array[[1, 0, 2]])
    return structure


CRYSTALS = {"alloy": alloy(), "left-handed": left_handed()}
STRUCTURES = CRYSTALS | {
    "wire": alloy([False, False, True]),
    "molecule": rattled("CH3OH"),
    "one atom": ase.Atoms("Cu"),
    "no neighbors": ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 9]]),
}


def assert_same(a, b, atol=1e-11):
    assert a.keys == b.keys
    for x, y in zip(a.blocks(), b.blocks(), strict=True):
        assert (x.samples, x.components, x.properties) == (y.samples, y.components, y.properties)
        np.testing.assert_allclose(x.values, y.values, atol=atol)
        for name, gradient in x.gradients():
            other = y.gradient(name)
            assert (gradient.samples, gradient.components) == (other.samples, other.components)
            np.testing.assert_allclose(gradient.values, other.values, atol=atol)


def turned(structure, matrix):
    copy = structure.copy()
    copy.set_cell(structure.cell.array @ matrix.T)
    copy.positions = structure.positions @ matrix.T
    return copy


def rotation(seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def wigner(l, matrix):
    directions = np.random.default_rng(0).normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    lm = slice(l * l, (l + 1) ** 2)
    Y, image = (spherical_harmonics(u, l)[0][:, lm] for u in (directions, directions @ matrix.T))
    return np.linalg.lstsq(Y, image)[0].T


# -- derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_gradients_against_finite_differences(name, structure):
    for check in verify_gradients(DESCRIPTORS[name], [STRUCTURES[structure]], count=3):
        assert check.passed, check


@pytest.mark.parametrize("structure", CRYSTALS)
@pytest.mark.parametrize("name", PERIODIC)
def test_periodic_gradients_against_finite_differences(name, structure):
    for check in verify_gradients(PERIODIC[name], [STRUCTURES[structure]], count=3):
        assert check.passed, check


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_of_pairs_are_those_of_differences(name):
    structure, step = alloy(), 1e-6
    tensor = PAIRS[name](structure, ALL)
    random = np.random.default_rng(0)
    moves, strain = random.normal(size=(4, 3)), random.normal(size=(3, 3))
    stretch = random.normal(size=(3, 3))
    rates = PAIRS[name].jvp(
        structure, {"positions": moves, "strain": strain[None], "cell": stretch[None]}
    )
    ends = []
    for h in (step, -step):
        changed = turned(structure, (np.eye(3) + h * strain).T)
        changed.set_cell(changed.cell.array + h * stretch)
        changed.positions += h * moves
        ends.append(PAIRS[name](changed))
    for key, rate in rates.items():
        plus, minus = (tensor.block(key).values for tensor in ends)
        np.testing.assert_allclose(rate.values, (plus - minus) / (2 * step), atol=1e-8)
    assert tensor.block_by_id(0).gradients_list() == list(ALL)


@pytest.mark.parametrize("name", EVERY)
def test_products_with_the_jacobian(name):
    """``<c, J t> = <Jᵀ c, t>`` for random cotangents and tangents, and J t by differences."""
    structures = [alloy(), left_handed()]
    calculator, random = EVERY[name], np.random.default_rng(0)
    tangents = {
        "positions": random.normal(size=(8, 3)),
        "strain": random.normal(size=(2, 3, 3)),
        "cell": random.normal(size=(2, 3, 3)),
    }
    rates = calculator.jvp(structures, tangents)
    cotangents = nablatom.random_uniform_like(calculator(structures))
    found = calculator.vjp(structures, cotangents)
    left = sum((c.values * r.values).sum() for c, r in zip(cotangents, rates, strict=True))
    right = sum((getattr(found, parameter) * t).sum() for parameter, t in tangents.items())
    assert left == pytest.approx(right, rel=1e-10, abs=1e-12)
    for parameter in ALL:
        assert getattr(found, parameter).shape == tangents[parameter].shape


PRODUCTS = ["equivariant", "of two densities", "bispectrum", "pseudoscalars"]
PRODUCTS += ["mixed types", "of mixed types", "short and long range"]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_the_jacobian_of_products_go_through_the_expansions(name):
    """They are those of stored gradients, and none is stored."""
    calculator, structures = EVERY[name], [alloy(), left_handed()]
    if name not in PERIODIC:
        structures = [ase.Atoms(), *STRUCTURES.values()]
    tensor = calculator(structures)
    cotangents = nablatom.random_uniform_like(tensor)
    atoms, count = sum(map(len, structures)), len(structures)
    random = np.random.default_rng(0)
    tangents = {
        "positions": random.normal(size=(atoms, 3)),
        "strain": random.normal(size=(count, 3, 3)),
        "cell": random.normal(size=(count, 3, 3)),
    }
    pulled = Explicit.vjp(calculator, structures, cotangents)
    pushed = Explicit.jvp(calculator, structures, tangents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(calculator), "tensor", None)  # which would store them
        found = calculator.vjp(structures, cotangents, threads=2)
        rates = calculator.jvp(structures, tangents, threads=2)
    for a, b in zip(found, pulled, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())
    assert_same(rates, pushed, atol=1e-11)
    some = nablatom.filter_blocks(cotangents, Labels("center_type", [[29]]))
    a, b = (f(calculator, structures, some) for f in (type(calculator).vjp, Explicit.vjp))
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_wrong_cotangents_are_named(name):
    calculator, structure = EVERY[name], alloy()
    cotangents = calculator(structure)
    key, block = cotangents.keys.values[0].copy(), cotangents.block_by_id(0)
    key[-1] = 99
    other = TensorMap(Labels(cotangents.keys.names, [key]), [block.copy()])
    with pytest.raises(ValueError, match=r"cotangents have a block .*which the tensor"):
        calculator.vjp(structure, other)
    with pytest.raises(ValueError, match="other samples or properties"):
        calculator.vjp([structure, structure], cotangents)
    renamed = nablatom.rename_dimension(cotangents, "keys", "center_type", "type")
    with pytest.raises(ValueError, match="its keys are"):
        calculator.vjp(structure, renamed)


@pytest.mark.parametrize("name", EVERY)
def test_gradient_rows_are_sorted_and_labelled(name):
    tensor = EVERY[name]([alloy(), left_handed()], ALL)
    for block in tensor.blocks():
        assert block.gradients_list() == list(ALL)
        rows = block.gradient("positions").samples
        assert rows.names == ["sample", "system", "atom"]
        assert rows.values.tolist() == sorted(rows.values.tolist())
        own = {n: [c.names[0] for c in g.components] for n, g in block.gradients()}
        rest = tensor.component_names
        assert own == {
            "positions": ["xyz", *rest],
            "strain": ["xyz_1", "xyz_2", *rest],
            "cell": ["abc", "xyz", *rest],
        }


# -- symmetry ------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [rotation(), -rotation(1)], ids=["rotation", "reflection"])
@pytest.mark.parametrize("name", EVERY)
def test_rotation_and_reflection(name, matrix):
    """Values turn as their keys say; their gradients turn with them."""
    calculator, structure = EVERY[name], alloy()
    before, after = (calculator(s, ALL) for s in (structure, turned(structure, matrix)))
    sign = np.linalg.det(matrix).round()
    for key, a in before.items():
        b, D = after.block(key), np.eye(1)
        parity = 1.0
        if "o3_lambda" in key.names:
            D = wigner(key["o3_lambda"], matrix)
            parity = 1.0 if key["o3_sigma"] == 1 else sign
        elif name == "pseudoscalars":
            parity = sign
        moved = a.gradient("positions").values
        if a.components:
            np.testing.assert_allclose(b.values, parity * (D @ a.values), atol=1e-11)
            expected = np.einsum("ab,mk,rbkp->ramp", matrix, D, moved) * parity
        else:
            np.testing.assert_allclose(b.values, parity * a.values, atol=1e-11)
            expected = np.einsum("ab,rbp->rap", matrix, moved) * parity
        np.testing.assert_allclose(b.gradient("positions").values, expected, atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_translation_and_another_cell_of_the_same_lattice(name):
    structure = alloy()
    expected = EVERY[name](structure, ["positions", "strain"])
    other = structure.copy()
    other.positions += [0.3, -1.7, 11.0]
    other.positions[1] += [2, -1, 3] @ structure.cell.array
    other.set_cell(np.array([[0, 1, 0], [1, 0, 0], [0, -1, 1]]) @ structure.cell.array)
    assert_same(expected, EVERY[name](other, ["positions", "strain"]), atol=1e-9)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "composition of systems"])
def test_permutation(name):
    structure, order = alloy(), [2, 0, 3, 1]
    before, after = (EVERY[name](s) for s in (structure, structure[order]))
    for key, block in after.items():
        other = before.block(key)
        rows = [other.samples.position([0, order[atom]]) for atom in block.samples["atom"]]
        np.testing.assert_allclose(block.values, other.values[rows], atol=1e-11)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "composition of systems"])
def test_supercell(name):
    cell, large = alloy(), alloy().repeat((2, 1, 1))
    expected, found = (EVERY[name](s, ["strain"]) for s in (cell, large))
    for a, b in zip(expected.blocks(), found.blocks(), strict=True):
        rows = [a.samples.position([0, atom % 4]) for atom in b.samples["atom"]]
        np.testing.assert_allclose(b.values, a.values[rows], atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_turn_and_change_their_names_with_the_atoms(name):
    """Rotation, translation, batches; and permutation, unless it chooses the direction."""
    calculator, structure, matrix = PAIRS[name], alloy(), rotation()
    order = [2, 0, 3, 1] if name != "one direction" else [0, 1, 2, 3]
    other = turned(structure[order], matrix)
    other.positions += [0.3, -1.7, 11.0]
    before, after = calculator(structure, ALL), calculator([alloy(), other], ALL)
    for key, a in before.items():
        block = nablatom.slice(after.block(key), "samples", Labels("system", [[1]]))
        names = [[0, order[i], order[j], *S] for _, i, j, *S in block.samples.values.tolist()]
        rows = [a.samples.position(entry) for entry in names]
        assert sorted(rows) == list(range(len(a)))
        D = wigner(key["o3_lambda"], matrix) if "o3_lambda" in key.names else matrix
        np.testing.assert_allclose(block.values, D @ a.values[rows], atol=1e-11)
        strain = np.einsum(
            "ac,bd,mk,rcdkp->rabmp", matrix, matrix, D, a.gradient("strain").values[rows]
        )
        np.testing.assert_allclose(block.gradient("strain").values, strain, atol=1e-10)


COPPER = Labels("center_type", [[29]])
SMOOTH = ["equivariant", "bispectrum", "mixed types", "of mixed types", "symmetry functions"]


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_at_the_cutoff(name):
    """Values and slopes fade out as a neighbor leaves, which a second one sees."""

    def at(gap):
        far = np.array([0.6, 0.0, 0.8]) * (3.8 - gap)
        atoms = ase.Atoms("CuAuAl", [[0, 0, 0], far, [-0.4, 2.0, 0.5]])
        found = {}
        for key, block in EVERY[name](atoms, ["positions"], keys=COPPER).items():
            gradient = block.gradient("positions")
            rows = (gradient.samples["atom"] == 1) & (gradient.samples["sample"] == 0)
            slope = np.abs(gradient.values[rows]).max(initial=0.0)
            found[tuple(key)] = block.values[:1], slope
        return found

    gone = at(-1e-9)
    for gap in (1e-3, 1e-5):
        near = at(gap)
        assert max(slope for _, slope in near.values()) > 0
        for key, (values, slope) in near.items():
            alone = gone[key][0] if key in gone else 0.0
            assert np.abs(values - alone).max() < gap**2
            assert slope < 20 * gap


@pytest.mark.parametrize("separate", [True, False])
def test_sorted_distances_do_not_jump_at_the_cutoff(separate):
    calculator = SortedDistances(3.8, 2, separate_neighbor_types=separate)
    for gap in (1e-4, -1e-4):
        atoms = ase.Atoms("CuAl2", [[0, 0, 0], [0, 0, 3.8 - gap], [2.0, 0, 0]])
        found = calculator(atoms, keys=COPPER).block().values[0]
        np.testing.assert_allclose(found, [2.0, 3.8], atol=1.1e-4)


# -- batches and parts ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_batch_is_single(name):
    structures = list((CRYSTALS if name in PERIODIC else STRUCTURES).values())
    structures = [ase.Atoms(), *structures, ase.Atoms()]
    together = EVERY[name](structures, ALL)
    for system, structure in enumerate(structures):
        if len(structure) == 0:
            continue
        for key, block in EVERY[name](structure, ALL).items():
            whole = together.block(key)
            rows = np.flatnonzero(whole.samples["system"] == system)
            np.testing.assert_allclose(whole.values[rows], block.values, atol=1e-13)
            for parameter, gradient in block.gradients():
                other = whole.gradient(parameter)
                mine = np.isin(other.samples["sample"], rows)
                np.testing.assert_allclose(other.values[mine], gradient.values, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_chosen_parts(name):
    structure = alloy()
    whole = EVERY[name](structure, ["positions"])
    key, block = whole.keys[0], whole.block_by_id(0)
    properties = block.properties.take(np.array([len(block.properties) - 1]))
    part = EVERY[name](
        structure,
        ["positions"],
        keys=Labels(whole.keys.names, [list(key)]),
        samples=block.samples.take(np.array([0])),
        properties=properties,
    )
    assert list(part.keys) == [key]
    found = part.block()
    assert len(found.samples) == len(found.properties) == 1
    np.testing.assert_array_equal(found.values, block.values[:1, ..., -1:])
    assert EVERY[name](structure, dtype="float32").block_by_id(0).values.dtype == np.float32


@pytest.mark.parametrize("name", [*EVERY, *PAIRS])
def test_plain_values_and_wrong_input(name):
    calculator = (EVERY | PAIRS)[name]
    assert hash(calculator) == hash((EVERY | PAIRS)[name])
    assert type(calculator).__name__ in repr(calculator)
    before = alloy()
    structure = before.copy()
    calculator(structure, ALL)
    assert structure == before
    for structures, gradients, message in (
        ([], (), "at least one"),
        ([ase.Atoms()], (), "no atoms in 1 structures"),
        (alloy(), ("charge",), "'charge'; choose from"),
        (ase.Atoms("Cu", [[np.nan, 0, 0]]), (), "atom 0 .* three finite numbers"),
        (ase.Atoms("Cu", cell=[5, 0, 0], pbc=[1, 1, 0]), (), "along ab, .* no volume"),
    ):
        with pytest.raises(ValueError, match=message):
            calculator(structures, gradients)
    with pytest.raises(TypeError, match="got int"):
        calculator([3])


@pytest.mark.parametrize("name", [n for n in EVERY if "composition" not in n and "lode" not in n])
def test_atoms_at_the_same_place_are_refused(name):
    pair = ase.Atoms("Cu2", np.zeros((2, 3)), cell=np.eye(3) * 5, pbc=True)
    with pytest.raises(ValueError, match="at the same"):
        EVERY[name](pair)


# -- how it is called ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*EVERY, *PAIRS])
def test_threads_pieces_and_workspaces_change_nothing(name):
    calculator, wanted = (EVERY | PAIRS)[name], ["positions", "cell"]
    second = left_handed() if name in PERIODIC else rattled("CH3OH")
    structures = [ase.Atoms(), alloy(), second, ase.Atoms("Cu", cell=np.eye(3), pbc=False)]
    structures = [*structures[: 3 if name in PERIODIC else 4], ase.Atoms()]
    expected, seen = calculator(structures, wanted), []

    def watched(ranges):
        seen.extend(ranges)
        return ranges

    assert_same(calculator(structures, wanted, threads=2), expected)
    part = {"samples": Labels("system", [[2]])}
    again = calculator(structures, wanted, **part, progress=watched)
    assert_same(again, calculator(structures, wanted, **part))
    assert [seen[0][0], seen[-1][1]] == [0, len(structures)]
    assert [start for start, _ in seen[1:]] == [stop for _, stop in seen[:-1]]
    assert len(seen) == (1 if name == "composition of systems" else len(structures) - 2)
    workspace = Workspace()
    calculator(structures[1], out=workspace, dtype="float32")
    again = calculator(structures, wanted, out=workspace)
    assert_same(again, expected, atol=0)
    first = again.block_by_id(0).values
    assert np.shares_memory(first, calculator(alloy(), out=workspace).block_by_id(0).values)


@pytest.mark.parametrize("name", [*EVERY, *PAIRS])
def test_blocks_stand_in_the_order_of_their_types(name):
    keys = (EVERY | PAIRS)[name](alloy()).keys
    spherical = [k for k, n in enumerate(keys.names) if n.startswith("o3_")]
    types = [k for k, n in enumerate(keys.names) if not n.startswith("o3_")]
    rows = keys.values[:, types + spherical].tolist()
    assert rows == sorted(rows)


@pytest.mark.parametrize("name", [*EVERY, *PAIRS])
def test_single_precision_is_double_precision_rounded(name):
    double, single = ((EVERY | PAIRS)[name](alloy(), ALL, dtype=t) for t in ("float64", np.float32))
    for a, b in zip(double.blocks(), single.blocks(), strict=True):
        np.testing.assert_array_equal(a.values.astype(np.float32), b.values)
        for parameter, gradient in a.gradients():
            other = b.gradient(parameter).values
            np.testing.assert_array_equal(gradient.values.astype(np.float32), other)


@pytest.mark.parametrize("name", [*EVERY, *PAIRS])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradients": "strain"}, r"expected a sequence of names, such as \['strain'\]"),
        ({"dtype": int}, "float64 or float32"),
        ({"dtype": "decimal"}, "float64 or float32, got decimal"),
        ({"threads": 0}, "at least one thread"),
        ({"keys": Labels("m", [[0]])}, "dimension 'm'"),
        ({"samples": Labels("m", [[0]])}, "dimension 'm'"),
        ({"properties": Labels("m", [[0]])}, "dimension 'm'"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        (EVERY | PAIRS)[name](alloy(), **options)


def test_gradients_asked_for_twice_are_there_once():
    tensor = PAIRS["both directions"](alloy(), ["strain", "strain"])
    assert tensor.block_by_id(0).gradients_list() == ["strain"]


# -- definitions ---------------------------------------------------------------------------


def test_products_are_those_of_tensor_product():
    structure = alloy()
    density = DENSITY(structure)
    first = nablatom.rename_dimension(density, "keys", "neighbor_type", "neighbor_1_type")
    second = nablatom.rename_dimension(density, "keys", "neighbor_type", "neighbor_2_type")
    expected = nablatom.tensor_product(first, second)
    for key, block in EquivariantPowerSpectrum(DENSITY)(structure).items():
        other = expected.block({name: int(key[name]) for name in key.names})
        rows = [
            other.properties.position([l1, 1, l2, 1, n1, n2])
            for l1, l2, n1, n2 in block.properties.values.tolist()
        ]
        assert other.samples == block.samples
        np.testing.assert_allclose(block.values, other.values[..., rows], atol=1e-13)


def test_bispectrum_couples_products_to_the_third_density():
    structure = alloy()
    density, products = DENSITY(structure), EquivariantPowerSpectrum(DENSITY)(structure)
    for key, block in Bispectrum(DENSITY)(structure).items():
        center, a, b, c = tuple(key)
        for column, (l1, l2, l3, n1, n2, n3) in enumerate(block.properties.values.tolist()):
            if l1 > l2:
                continue  # products are there for l1 <= l2
            pair = products.block(
                o3_lambda=l3, o3_sigma=1, center_type=center, neighbor_1_type=a, neighbor_2_type=b
            )
            third = density.block(o3_lambda=l3, center_type=center, neighbor_type=c)
            x = pair.values[..., pair.properties.position([l1, l2, n1, n2])]
            expected = np.einsum("im,im->i", x, third.values[..., n3])
            expected *= (-1) ** l3 / np.sqrt(2 * l3 + 1)
            np.testing.assert_allclose(block.values[:, column], expected, atol=1e-13)


@pytest.mark.parametrize("name", ["bispectrum", "equivariant", "symmetry functions"])
def test_types_that_no_atom_has_together(name):
    """Copper sees aluminium, aluminium sees gold, but copper does not see gold."""
    structure = ase.Atoms("CuAlAu", [[0, 0, 0], [0, 0, 3], [0.1, 0.2, 6]])
    tensor = DESCRIPTORS[name](structure, ALL)
    for key, block in tensor.items():
        assert not {29, 79} <= set(key) or key["center_type"] == 13
        assert len(block) == 1
        assert np.isfinite(block.gradient("positions").values).all()


def symmetry_function(structure, g, f, i, types):
    """One number by loops over all images within reach."""
    from nablatom.systems import neighbor_pairs

    pairs = neighbor_pairs([structure], f.radius)
    mine = [
        (v, structure.numbers[j])
        for c, j, v in zip(pairs.center, pairs.neighbor, pairs.vector, strict=True)
        if c == i
    ]

    def fade(v):
        return float(f(np.array([np.linalg.norm(v)]))[0][0])

    if isinstance(g, G2):
        rs = [v for v, z in mine if z == types[1]]
        return sum(np.exp(-g.eta * (np.linalg.norm(v) - g.shift) ** 2) * fade(v) for v in rs)
    total = 0.0
    for p, (v, a) in enumerate(mine):
        for w, b in mine[p + 1 :]:
            if sorted((a, b)) == sorted(types):
                r, s, t = (np.linalg.norm(x) for x in (v, w, w - v))
                near = isinstance(g, G4)
                angle = (1 + g.lam * (v @ w) / (r * s)) ** g.zeta * 2 ** (1 - g.zeta)
                square = r * r + s * s + (t * t if near else 0)
                term = angle * np.exp(-g.eta * square) * fade(v) * fade(w)
                total += term * (fade(w - v) if near else 1.0)
    return total


def test_symmetry_functions_are_their_definition():
    structure = alloy([True, False, False])
    calculator = DESCRIPTORS["symmetry functions"]
    for (_, *types), block in ((tuple(k), b) for k, b in calculator(structure).items()):
        for (_, atom), row in zip(block.samples.values.tolist(), block.values, strict=True):
            for place, value in zip(block.properties["function"].tolist(), row, strict=True):
                g = FUNCTIONS[place]
                expected = symmetry_function(structure, g, calculator.cutoff, atom, types)
                assert value == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_sum_over_waves_is_the_sum_over_neighbors():
    """A Gaussian falls off, so that both ways to sum over all images converge."""
    structure, radial = alloy(), Gto(2, radius=1.5)
    lode = LodeSphericalExpansion(
        radial=radial, density=Gaussian(0.8), max_angular=2, k_cutoff=10.0, center_weight=0.4
    )
    direct = SphericalExpansion(
        cutoff=Cutoff(16.0, width=0.1),
        radial=radial,
        density=Gaussian(0.8),
        max_angular=2,
        center_weight=0.4,
    )
    for key, block in lode(structure, ALL).items():
        other = direct(structure, ALL, keys=Labels(key.names, [list(key)])).block()
        np.testing.assert_allclose(block.values, other.values, atol=1e-10)
        for name in ("strain", "cell"):
            expected = other.gradient(name).values
            np.testing.assert_allclose(block.gradient(name).values, expected, atol=1e-9)


def test_atoms_of_the_type_of_nobody_are_refused():
    for calculator in (DESCRIPTORS["symmetry functions"], SoapPowerSpectrum(radial_spectrum=True)):
        with pytest.raises(ValueError, match="type 0, which stands for nobody"):
            calculator(ase.Atoms("X2", [[0, 0, 0], [0, 0, 1]]))


def test_lode_refuses_what_has_no_waves():
    with pytest.raises(
        ValueError, match=r"waves up to 3.77, expected at most 1e.07; give a"
    ) as told:
        LODE([alloy(), ase.Atoms("Cu", cell=[1e6, 1e6, 1e6], pbc=True)])
    assert told.value.__notes__ == ["in structure 1"]
    with pytest.raises(ValueError, match="structure 1 is not periodic"):
        LODE([alloy(), molecule("H2O")])
    with pytest.raises(ValueError, match="radius of its own"):
        LodeSphericalExpansion(radial=Gto(2), density=Gaussian(1.0))
    with pytest.raises(ValueError, match="k_cutoff must be positive"):
        LodeSphericalExpansion(radial=Gto(2, 1.0), density=Gaussian(1.0), k_cutoff=-1.0)


# -- the peer ------------------------------------------------------------------------------

HYPERS = {
    "cutoff": {"radius": 3.5, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.4},
    "basis": {
        "type": "TensorProduct",
        "max_angular": 2,
        "radial": {"type": "Gto", "max_radial": 1},
        "spline_accuracy": None,
    },
}
OURS = SphericalExpansion(cutoff=Cutoff(3.5), density=Gaussian(0.4), radial=Gto(1), max_angular=2)


def peer(name, **settings):
    featomic = pytest.importorskip("featomic")
    return getattr(featomic, name)(**settings)


@pytest.mark.parametrize(
    ("ours", "name", "settings"),
    [
        (
            SortedDistances(4.0, 5),
            "SortedDistances",
            {"cutoff": 4.0, "max_neighbors": 5, "separate_neighbor_types": True},
        ),
        (
            SortedDistances(4.0, 5, separate_neighbor_types=False),
            "SortedDistances",
            {"cutoff": 4.0, "max_neighbors": 5, "separate_neighbor_types": False},
        ),
        (AtomicComposition(), "AtomicComposition", {"per_system": False}),
        (AtomicComposition(per_system=True), "AtomicComposition", {"per_system": True}),
        (NeighborList(4.0), "NeighborList", {"cutoff": 4.0, "full_neighbor_list": True}),
        (
            NeighborList(4.0, full_neighbor_list=False),
            "NeighborList",
            {"cutoff": 4.0, "full_neighbor_list": False},
        ),
        (
            NeighborList(4.0, self_pairs=True),
            "NeighborList",
            {"cutoff": 4.0, "full_neighbor_list": True, "self_pairs": True},
        ),
    ],
)
def test_values_and_labels_of_the_peer(ours, name, settings):
    structures = [alloy(), rattled("CH3OH"), ase.Atoms("Cu")]
    expected = from_metatensor(peer(name, **settings).compute(structures))
    found = ours(structures)
    assert found.keys == expected.keys
    for key, block in found.items():
        other = expected.block(key)
        assert (block.components, block.properties) == (other.components, other.properties)
        rows = [other.samples.position(entry) for entry in block.samples]
        assert sorted(rows) == list(range(len(other.samples)))
        np.testing.assert_allclose(block.values, other.values[rows], atol=1e-12)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 6])
def test_lode_of_the_peer(exponent):
    radial = {"type": "Gto", "max_radial": 2, "radius": 2.0}
    density = {
        "type": "SmearedPowerLaw", "smearing": 1.0, "exponent": exponent, "center_atom_weight": 0.3,
    }  # fmt: skip
    theirs = peer(
        "LodeSphericalExpansion",
        density=density,
        basis={**HYPERS["basis"], "radial": radial, "spline_accuracy": 1e-10},
    )
    structures = [alloy(), bulk("Si")]
    expected = from_metatensor(theirs.compute(structures, gradients=["positions"]))
    ours = LodeSphericalExpansion(
        radial=Gto(2, radius=2.0),
        density=SmearedPowerLaw(1.0, exponent) if exponent else Gaussian(1.0),
        max_angular=2,
        center_weight=0.3,
    )
    found = ours(structures, ["positions"])
    assert {tuple(key) for key in found.keys} == {tuple(key) for key in expected.keys}
    for key, block in found.items():
        other = expected.block(key)
        assert block.samples == other.samples
        np.testing.assert_allclose(block.values, other.values, atol=1e-9)
        gradient, theirs = (x.gradient("positions") for x in (block, other))
        assert gradient.samples == theirs.samples
        np.testing.assert_allclose(gradient.values, theirs.values, atol=1e-8)


def test_equivariants_of_the_peer():
    """Its products of odd parity have the other sign: cross products of left and right."""
    structures = [rattled("CH3OH")]
    module = pytest.importorskip("featomic.clebsch_gordan")
    theirs = module.EquivariantPowerSpectrum(
        peer("SphericalExpansion", **HYPERS), neighbor_types=[1, 6, 8]
    )
    expected = from_metatensor(theirs.compute(structures))
    found = EquivariantPowerSpectrum(OURS)(structures)
    assert {tuple(key) for key in found.keys} <= {tuple(key) for key in expected.keys}
    for key, block in found.items():
        other = expected.block(key)
        assert block.properties == other.properties
        rows = [other.samples.position(entry) for entry in block.samples]
        np.testing.assert_allclose(block.values, other.values[rows] * key["o3_sigma"], atol=1e-9)


@pytest.mark.parametrize("parity", [1, -1])
def test_bispectrum_of_the_peer(parity):
    metatensor = pytest.importorskip("metatensor")
    module = pytest.importorskip("featomic.clebsch_gordan")
    structures = [rattled("CH3OH")]
    density = peer("SphericalExpansion", **HYPERS).compute(structures)
    scalar = metatensor.Labels(["o3_lambda", "o3_sigma"], np.array([[0, parity]]))
    correlations = module.DensityCorrelations(n_correlations=2, max_angular=4, skip_redundant=False)
    expected = from_metatensor(
        correlations.compute(density.keys_to_properties("neighbor_type"), selected_keys=scalar)
    ).keys_to_properties(["l_1", "l_2", "k_2", "l_3"])
    for (center, *types), block in (
        (tuple(k), b) for k, b in Bispectrum(OURS, parity)(structures).items()
    ):
        other = expected.block(center_type=center)
        names = other.properties.names
        rows = [other.samples.position(entry) for entry in block.samples]
        columns = []
        for l1, l2, l3, *n in block.properties.values.tolist():
            numbers = {"l_1": l1, "l_2": l2, "k_2": l3, "l_3": l3}
            numbers |= {f"n_{i}": n[i - 1] for i in (1, 2, 3)}
            numbers |= {f"neighbor_{i}_type": types[i - 1] for i in (1, 2, 3)}
            columns.append(other.properties.position([numbers[name] for name in names]))
        theirs = other.values[rows][:, 0, columns]
        np.testing.assert_allclose(block.values, parity * theirs, atol=1e-9)
