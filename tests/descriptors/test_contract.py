"""The contract of every descriptor, as a table: a new one adds a row to DESCRIPTORS."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from numba.core.dispatcher import Dispatcher
from scipy.special import sph_harm_y

from nablatom.descriptors import (
    Cutoff,
    Gaussian,
    Gto,
    Polynomial,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SphericalExpansion,
    SphericalExpansionByPair,
    Willatt2018,
    Workspace,
    kernels_coupling,
    kernels_density,
    kernels_expansion,
    kernels_index,
    kernels_pair,
    kernels_search,
    kernels_spectrum,
    storage,
    verify_gradients,
)
from nablatom.descriptors.harmonics import spherical_harmonics
from nablatom.labels import Labels
from nablatom.operations import sum_over_samples
from nablatom.systems import neighbor_pairs
from soap import expansion, power_spectrum, radial_spectrum

ALL = ("positions", "strain", "cell")
SMOOTH = {"cutoff": Cutoff(4.0, width=1.5), "density": Gaussian(0.5)}
DESCRIPTORS = {
    "expansion": expansion(cutoff=4.0, max_radial=2, max_angular=3),
    "radial": radial_spectrum(cutoff=4.0, max_radial=3),
    "power": power_spectrum(cutoff=4.0, max_radial=2, max_angular=3),
    "power without radial": power_spectrum(cutoff=4.0, max_radial=1, max_angular=2, radial=False),
    "power, narrow fade": power_spectrum(cutoff=3.5, width=0.4, max_radial=2, max_angular=2),
    "expansion of Gaussians": SphericalExpansion(**SMOOTH, radial=Gto(3), max_angular=2),
    "power of Gaussians": SoapPowerSpectrum(**SMOOTH, radial=Gto(7), max_angular=1),
    "scaled power": SoapPowerSpectrum(
        cutoff=Cutoff(4.0, width=2.0, smoothing=Polynomial(4)),
        radial=Gto(2),
        scaling=Willatt2018(scale=2.0, rate=1.0, exponent=3),
        center_weight=0.5,
        max_angular=2,
    ),
}
EXPANSIONS = [name for name in DESCRIPTORS if "expansion" in name]
INVARIANTS = [name for name in DESCRIPTORS if "expansion" not in name]


def alloy(pbc=True, seed=0):
    """Three species in a skewed cell, smaller than the reach of the descriptors."""
    random = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.3, 0.0], [0.4, 3.8, 0.5], [-0.2, 0.1, 4.4]])
    scaled = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = scaled @ cell + random.normal(scale=0.1, size=(4, 3))
    return ase.Atoms("CuAuAlCu", positions, cell=cell, pbc=pbc)


def left_handed():
    structure = alloy(seed=1)
    structure.set_cell(structure.cell.array[[1, 0, 2]])
    return structure


STRUCTURES = {
    "alloy": alloy(),
    "slab": alloy([True, True, False]),
    "wire": alloy([False, False, True]),
    "cluster": alloy(False),
    "left-handed": left_handed(),
    "molecule": molecule("CH3CH2OH"),
    "one atom, many images": bulk("Cu", a=3.6),
    "one atom": ase.Atoms("Cu"),
    "no neighbors": ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 9]]),
    "outside the cell": ase.Atoms(
        "CuAu", [[-7, 0.2, 0], [9, 1, 1]], cell=[4.3, 4.2, 4.1], pbc=True
    ),
}


def dense(tensor):
    """Every value by its labels, for comparisons that do not depend on order or sparsity."""
    return {
        (*key, *block.samples[i], *mu(block, *m), *block.properties[k]): block.values[i, *m, k]
        for key, block in tensor.items()
        for i, *m, k in np.ndindex(block.shape)
    }


def mu(block, *places):
    return tuple(int(c.values[m, 0]) for c, m in zip(block.components, places, strict=True))


def assert_same(a, b, *, rtol=0.0, atol=1e-12):
    """Same keys, samples, values and gradients, in the same order."""
    assert a.keys == b.keys
    for x, y in zip(a.blocks(), b.blocks(), strict=True):
        assert (x.samples, x.components, x.properties) == (y.samples, y.components, y.properties)
        np.testing.assert_allclose(x.values, y.values, rtol=rtol, atol=atol)
        assert x.gradients_list() == y.gradients_list()
        for name, gradient in x.gradients():
            other = y.gradient(name)
            assert (gradient.samples, gradient.components) == (other.samples, other.components)
            np.testing.assert_allclose(gradient.values, other.values, rtol=rtol, atol=atol)


# -- the definition ------------------------------------------------------------------------


def real_harmonic(l, m, u):
    theta, phi = np.arccos(np.clip(u[2], -1, 1)), np.arctan2(u[1], u[0])
    y = sph_harm_y(l, abs(m), theta, phi) * (-1.0) ** m
    return y.real if m == 0 else np.sqrt(2) * (y.imag if m < 0 else y.real)


def coefficient(structure, calculator, i, element, l, m, n):
    """One number of the density of points on spherical waves, by loops over the pairs."""
    cutoff, width = calculator.cutoff.radius, calculator.cutoff.width
    total, pairs = 0.0, neighbor_pairs([structure], cutoff)
    for center, neighbor, v in zip(pairs.center, pairs.neighbor, pairs.vector, strict=True):
        if center == i and structure.numbers[neighbor] == element:
            r = np.linalg.norm(v)
            wave = np.sqrt(2 / cutoff) * np.sin((n + 1) * np.pi * r / cutoff) / r
            x = (r - cutoff + width) / width
            fade = 1.0 if x < 0 else (1 + np.cos(np.pi * x)) / 2
            total += wave * fade * real_harmonic(l, m, v / r)
    return total


def test_expansion_is_its_definition():
    structure, calculator = STRUCTURES["alloy"], DESCRIPTORS["expansion"]
    for (l, _, center, element, _, atom, m, n), value in dense(calculator([structure])).items():
        if n < 2 and l < 3:
            assert structure.numbers[atom] == center
            expected = coefficient(structure, calculator, atom, element, l, m, n)
            assert value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", ["power", "power, narrow fade"])
def test_power_spectrum_is_its_definition(name):
    structure, spectrum = STRUCTURES["alloy"], DESCRIPTORS[name]
    values = dense(spectrum([structure]))
    random = np.random.default_rng(0)
    for label in random.permutation(list(values))[:60].tolist():
        _, first, second, _, atom, l, n_1, n_2 = label
        b = [coefficient(structure, spectrum, atom, second, l, m, n_2) for m in range(-l, l + 1)]
        if first == 0:
            assert values[tuple(label)] == pytest.approx(b[0], abs=1e-10)
            continue
        a = [coefficient(structure, spectrum, atom, first, l, m, n_1) for m in range(-l, l + 1)]
        twice = first != second or n_1 != n_2
        expected = (-1) ** l / np.sqrt(2 * l + 1) * np.dot(a, b) * (np.sqrt(2) if twice else 1)
        assert values[tuple(label)] == pytest.approx(expected, abs=1e-10)


def test_radial_spectrum_is_the_scalar_part():
    spectrum = DESCRIPTORS["radial"]
    scalar = expansion(cutoff=4.0, max_radial=3, max_angular=0)
    radial, whole = (dense(c([STRUCTURES["alloy"]])) for c in (spectrum, scalar))
    assert radial == {(*label[2:6], label[7]): value for label, value in whole.items()}


def test_unique_products_keep_scalar_products():
    """With equal types, leaving out n_1 > n_2 does not change x·y of two atoms."""
    structure = STRUCTURES["molecule"]
    settings = {"cutoff": 4.0, "width": 4.0, "max_radial": 2, "max_angular": 3}
    density, spectrum = expansion(**settings), power_spectrum(**settings, radial=False)
    block = spectrum([structure]).block(center_type=1, neighbor_1_type=1, neighbor_2_type=1)
    full = []
    for l in range(4):
        c = density([structure]).block(o3_lambda=l, center_type=1, neighbor_type=1).values
        full.append(np.einsum("imn,imk->ink", c, c).reshape(len(c), -1) / np.sqrt(2 * l + 1))
    full = np.concatenate(full, axis=1)
    np.testing.assert_allclose(block.values @ block.values.T, full @ full.T, rtol=1e-12)


# -- labels --------------------------------------------------------------------------------


def test_keys_and_properties_are_named():
    names = {
        "expansion": (["o3_lambda", "o3_sigma", "center_type", "neighbor_type"], ["n"]),
        "radial": (["center_type", "neighbor_type"], ["n"]),
        "power": (["center_type", "neighbor_1_type", "neighbor_2_type"], ["l", "n_1", "n_2"]),
    }
    for name, (keys, properties) in names.items():
        tensor = DESCRIPTORS[name]([STRUCTURES["alloy"]], gradients=ALL)
        assert (tensor.keys.names, tensor.property_names) == (keys, properties)
        assert tensor.sample_names == ["system", "atom"]
        assert tensor.component_names == (["o3_mu"] if name == "expansion" else [])
        turn = tensor.keys.names.index("center_type")  # the order of keys: center first
        rows = np.roll(tensor.keys.values, -turn, axis=1).tolist()
        assert rows == sorted(rows)
        for block in tensor.blocks():
            own = {n: [c.names[0] for c in g.components] for n, g in block.gradients()}
            rest = tensor.component_names
            assert own == {
                "positions": ["xyz", *rest],
                "strain": ["xyz_1", "xyz_2", *rest],
                "cell": ["abc", "xyz", *rest],
            }


def test_types_are_ordered_and_radial_blocks_stand_for_nobody():
    tensor = DESCRIPTORS["power"]([STRUCTURES["molecule"]])
    for key, block in tensor.items():
        assert key["neighbor_1_type"] <= key["neighbor_2_type"]
        if key["neighbor_1_type"] == 0:
            assert block.properties.values.tolist() == [[0, 0, n] for n in range(3)]
    keys = DESCRIPTORS["power without radial"]([STRUCTURES["molecule"]]).keys
    assert 0 not in keys["neighbor_1_type"]


def rows_of(pairs):
    table = np.stack([pairs.system, pairs.center, pairs.neighbor], axis=1)
    return {tuple(row) for row in table.tolist()}


def test_samples_are_atoms_with_such_neighbors_or_of_that_type():
    structures = list(STRUCTURES.values())
    pairs = neighbor_pairs(structures, 4.0)
    numbers = [s.numbers for s in structures]
    sees = {(s, i, int(numbers[s][j])) for s, i, j in rows_of(pairs)}
    sees |= {(s, i, int(z)) for s, zs in enumerate(numbers) for i, z in enumerate(zs)}
    found = {
        (*map(int, sample), key["neighbor_type"])
        for key, block in DESCRIPTORS["radial"](structures).items()
        for sample in block.samples.values
    }
    assert found == sees
    for key, block in DESCRIPTORS["power"](structures).items():
        for s, i in block.samples.values.tolist():
            assert (s, i, key["neighbor_2_type"]) in sees
            assert key["neighbor_1_type"] == 0 or (s, i, key["neighbor_1_type"]) in sees


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_gradient_rows_are_sorted_sparse_and_hold_the_center(name):
    structures = [STRUCTURES["alloy"], STRUCTURES["no neighbors"], STRUCTURES["molecule"]]
    pairs = neighbor_pairs(structures, DESCRIPTORS[name].cutoff.radius)
    near = rows_of(pairs)
    for block in DESCRIPTORS[name](structures, gradients=["positions"]).blocks():
        rows = block.gradient("positions").samples.values.tolist()
        assert rows == sorted(rows)
        samples = block.samples.values.tolist()
        assert [row[0] for row in rows if row[1:] == samples[row[0]]] == list(range(len(block)))
        for sample, system, atom in rows:
            assert system == samples[sample][0]
            assert atom == samples[sample][1] or (system, samples[sample][1], atom) in near


# -- derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_gradients_against_finite_differences(name, structure):
    checks = verify_gradients(DESCRIPTORS[name], [STRUCTURES[structure]], count=6)
    for check in checks:
        assert check.passed, check


def test_every_component_of_every_gradient():
    """All atoms, strains and cell vectors of one structure, by plain central differences."""
    structure, spectrum, step = STRUCTURES["alloy"], DESCRIPTORS["power"], 2e-5
    blocks = spectrum([structure], gradients=ALL).blocks()

    def central(change):
        plus, minus = (spectrum([change(sign * step)]).blocks() for sign in (1, -1))
        return [(a.values - b.values) / (2 * step) for a, b in zip(plus, minus, strict=True)]

    def changed(positions=None, cell=None):
        copy = structure.copy()
        copy.set_cell(structure.cell.array if cell is None else cell)
        copy.positions = structure.positions if positions is None else positions
        return copy

    for a, b in np.ndindex(3, 3):
        unit = np.zeros((3, 3))
        unit[a, b] = 1.0
        strained = central(lambda h, F=unit: turned(structure, (np.eye(3) + h * F).T))
        stretched = central(lambda h, F=unit: changed(cell=structure.cell.array + h * F))
        for block, strain, cell in zip(blocks, strained, stretched, strict=True):
            np.testing.assert_allclose(block.gradient("strain").values[:, a, b], strain, atol=2e-7)
            np.testing.assert_allclose(block.gradient("cell").values[:, a, b], cell, atol=2e-7)
    for atom, axis in np.ndindex(len(structure), 3):
        unit = np.zeros((len(structure), 3))
        unit[atom, axis] = 1.0
        moved = central(lambda h, d=unit: changed(structure.positions + h * d))
        for block, expected in zip(blocks, moved, strict=True):
            gradient = block.gradient("positions")
            stored = np.zeros_like(expected)
            rows = gradient.samples["atom"] == atom
            stored[gradient.samples["sample"][rows]] = gradient.values[rows, axis]
            np.testing.assert_allclose(stored, expected, atol=2e-7)


def test_gradients_come_in_any_choice_and_order():
    spectrum, structures = DESCRIPTORS["power"], [STRUCTURES["alloy"]]
    everything = spectrum(structures, gradients=ALL)
    for choice in [(), ("strain",), ("cell", "positions")]:
        tensor = spectrum(structures, gradients=choice)
        for a, b in zip(tensor.blocks(), everything.blocks(), strict=True):
            assert a.gradients_list() == list(choice)
            np.testing.assert_array_equal(a.values, b.values)
            for parameter in choice:
                assert a.gradient(parameter) == b.gradient(parameter)


# -- symmetry ------------------------------------------------------------------------------


def rotation(seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def turned(structure, matrix):
    copy = structure.copy()
    copy.set_cell(structure.cell.array @ matrix.T)
    copy.positions = structure.positions @ matrix.T
    return copy


@pytest.mark.parametrize("structure", ["alloy", "slab", "molecule"])
@pytest.mark.parametrize("matrix", [rotation(), -rotation(1), np.diag([1.0, 1.0, -1.0])])
@pytest.mark.parametrize("name", INVARIANTS)
def test_rotation_and_reflection(name, matrix, structure):
    """Values stay; positions gradients turn as vectors, strain gradients as matrices."""
    calculator, structure = DESCRIPTORS[name], STRUCTURES[structure]
    before, after = (calculator([s], gradients=ALL) for s in (structure, turned(structure, matrix)))
    for a, b in zip(before.blocks(), after.blocks(), strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-11)
        for name, rule in (("positions", "ab,rbp->rap"), ("cell", "ab,rkbp->rkap")):
            expected = np.einsum(rule, matrix, a.gradient(name).values)
            np.testing.assert_allclose(b.gradient(name).values, expected, atol=1e-10)
        strain = np.einsum("ac,bd,rcdp->rabp", matrix, matrix, a.gradient("strain").values)
        np.testing.assert_allclose(b.gradient("strain").values, strain, atol=1e-10)


@pytest.mark.parametrize("name", INVARIANTS)
def test_strain_gradients_of_invariants_are_symmetric(name):
    tensor = DESCRIPTORS[name]([STRUCTURES["alloy"]], gradients=["strain"])
    for block in tensor.blocks():
        strain = block.gradient("strain").values
        np.testing.assert_allclose(strain, strain.swapaxes(1, 2), atol=1e-10)


@pytest.mark.parametrize("matrix", [rotation(2), -rotation(3)])
@pytest.mark.parametrize("name", EXPANSIONS)
def test_expansions_turn_as_harmonics_do(name, matrix):
    """The Wigner matrices come from harmonics of turned directions."""
    calculator, structure = DESCRIPTORS[name], STRUCTURES["alloy"]
    directions = np.random.default_rng(0).normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    before, after = (calculator([s], ALL) for s in (structure, turned(structure, matrix)))
    for key, a in before.items():
        l, b = key["o3_lambda"], after.block(key)
        lm = slice(l * l, (l + 1) ** 2)
        Y, turned_Y = (
            spherical_harmonics(u, l)[0][:, lm] for u in (directions, directions @ matrix.T)
        )
        wigner = np.linalg.lstsq(Y, turned_Y)[0].T
        np.testing.assert_allclose(b.values, wigner @ a.values, atol=1e-11)
        moved = np.einsum("ab,mk,rbkn->ramn", matrix, wigner, a.gradient("positions").values)
        np.testing.assert_allclose(b.gradient("positions").values, moved, atol=1e-10)
        strained = np.einsum(
            "ac,bd,mk,rcdkn->rabmn", matrix, matrix, wigner, a.gradient("strain").values
        )
        np.testing.assert_allclose(b.gradient("strain").values, strained, atol=1e-10)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_translation_and_wrapping(name):
    structure = STRUCTURES["alloy"].copy()
    expected = DESCRIPTORS[name]([structure], gradients=["positions", "strain"])
    structure.positions += [0.3, -1.7, 11.0]
    structure.positions[1] += [2, -1, 3] @ structure.cell.array
    assert_same(
        expected, DESCRIPTORS[name]([structure], gradients=["positions", "strain"]), atol=1e-10
    )


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_permutation(name):
    structure = STRUCTURES["alloy"]
    order = [2, 0, 3, 1]
    before, after = (dense(DESCRIPTORS[name]([s])) for s in (structure, structure[order]))
    atom = -1 - (1 if name == "radial" else 2 if name in EXPANSIONS else 3)
    for label, value in after.items():
        old = list(label)
        old[atom] = order[label[atom]]
        assert value == pytest.approx(before[tuple(old)], abs=1e-10)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_supercell(name):
    """The same values for every copy; the strain gradient of the sum grows with their number."""
    cell, super_cell = STRUCTURES["alloy"], STRUCTURES["alloy"].repeat((2, 1, 3))
    small, large = (DESCRIPTORS[name]([s], gradients=["strain"]) for s in (cell, super_cell))
    for a, b in zip(small.blocks(), large.blocks(), strict=True):
        places = {atom: row for row, atom in enumerate(a.samples["atom"].tolist())}
        rows = [places[atom % 4] for atom in b.samples["atom"].tolist()]
        np.testing.assert_allclose(b.values, a.values[rows], atol=1e-11)
    small, large = (sum_over_samples(t, "atom") for t in (small, large))
    for a, b in zip(small.blocks(), large.blocks(), strict=True):
        np.testing.assert_allclose(
            b.gradient("strain").values, 6 * a.gradient("strain").values, atol=1e-9
        )


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_another_cell_of_the_same_lattice(name):
    """Permuted vectors (left-handed) and a sheared cell: the same crystal."""
    structure = STRUCTURES["alloy"]
    expected = DESCRIPTORS[name]([structure], gradients=["strain"])
    for change in ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [2, 1, 0], [0, -1, 1]]):
        other = structure.copy()
        other.set_cell(np.array(change) @ structure.cell.array)
        assert_same(expected, DESCRIPTORS[name]([other], gradients=["strain"]), atol=1e-10)


# -- locality and batches ------------------------------------------------------------------


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_smooth_at_the_cutoff(name):
    """Values and gradients go to those of a lone atom as a neighbor leaves; no step there."""
    calculator = DESCRIPTORS[name]

    def at(distance):
        pair = ase.Atoms("CuAu", [[0, 0, 0], np.array([0.6, 0.0, 0.8]) * distance])
        tensor = calculator([pair], gradients=["positions"])
        slopes = [np.abs(b.gradient("positions").values).max() for b in tensor.blocks()]
        return dense(tensor), max(slopes)

    alone, slope = at(calculator.cutoff.radius + 1e-9)
    assert slope == 0
    for gap in (1e-3, 1e-5):
        values, slope = at(calculator.cutoff.radius - gap)
        assert max(abs(v - alone.get(label, 0.0)) for label, v in values.items()) < gap**2
        assert 0 < slope < 10 * gap


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_batch_is_single(name):
    structures = [ase.Atoms(), *STRUCTURES.values(), ase.Atoms("Au"), ase.Atoms()]
    together = DESCRIPTORS[name](structures, gradients=ALL)
    seen = 0
    for system, structure in enumerate(structures):
        if len(structure) == 0:
            continue
        alone = DESCRIPTORS[name]([structure], gradients=ALL)
        for key, block in alone.items():
            whole = together.block(key)
            rows = np.flatnonzero(whole.samples["system"] == system)
            np.testing.assert_allclose(whole.values[rows], block.values, atol=1e-13)
            for parameter, gradient in block.gradients():
                other = whole.gradient(parameter)
                mine = np.isin(other.samples["sample"], rows)
                np.testing.assert_allclose(other.values[mine], gradient.values, atol=1e-13)
            seen += len(rows)
    assert seen == sum(len(block) for block in together.blocks())


def test_inputs_are_untouched():
    structure = STRUCTURES["alloy"]
    before = structure.copy()
    for calculator in DESCRIPTORS.values():
        calculator([structure], gradients=ALL)
        verify_gradients(calculator, [structure], count=1)
    assert structure == before
    assert structure.calc is None


def test_far_from_the_origin():
    near, far = STRUCTURES["molecule"], STRUCTURES["molecule"].copy()
    far.positions += 1000.0
    assert_same(
        *(DESCRIPTORS["power"]([s], gradients=["positions"]) for s in (near, far)), atol=1e-9
    )


# -- settings and errors -------------------------------------------------------------------


def test_calculators_are_plain_values():
    a, b = (SoapPowerSpectrum(cutoff=Cutoff(4.0)) for _ in range(2))
    assert a == b
    assert len({a, b, SoapPowerSpectrum(cutoff=Cutoff(5.0))}) == 2
    assert repr(a).startswith("SoapPowerSpectrum(cutoff=Cutoff(radius=4.0, width=0.5")
    with pytest.raises(AttributeError):
        a.cutoff = 3.0


@pytest.mark.parametrize("kind", [SphericalExpansion, SoapPowerSpectrum])
def test_settings_without_a_meaning_are_refused(kind):
    with pytest.raises(ValueError, match="max_angular counts from 0"):
        kind(max_angular=-1)


@pytest.mark.parametrize("name", DESCRIPTORS)
@pytest.mark.parametrize(
    ("structures", "gradients", "message"),
    [
        ([], (), "at least one"),
        ([ase.Atoms(), ase.Atoms()], ("positions",), "no atoms in 2 structures"),
        ([alloy()], ("charge",), "'charge'; choose from positions, strain, cell"),
        (
            [alloy(), ase.Atoms("Cu2", np.zeros((2, 3)))],
            (),
            "structure 1: atoms 0 and 1 are at the same",
        ),
    ],
)
def test_wrong_input_is_named(name, structures, gradients, message):
    with pytest.raises(ValueError, match=message):
        DESCRIPTORS[name](structures, gradients=gradients)


def test_other_wrong_input_is_named():
    spectrum, structure = DESCRIPTORS["power"], STRUCTURES["alloy"]
    broken = structure.copy()
    broken.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="structure 1: the position of atom 0 is"):
        spectrum([structure, broken])
    for cell, pbc in (
        ([0, 0, 0], True),
        ([5, 0, 0], [1, 1, 0]),
        ([[5, 0, 0], [10, 1e-9, 0], [0, 0, 5]], True),
    ):
        with pytest.raises(ValueError, match=r"structure 0: is periodic along .* no volume"):
            spectrum([ase.Atoms("Cu", cell=cell, pbc=pbc)])
    with pytest.raises(ValueError, match="float64 or float32"):
        spectrum([structure], dtype=np.int64)
    with pytest.raises(ValueError, match="one thread"):
        spectrum([structure], threads=0)
    with pytest.raises(ValueError, match="dimension 'm'; choose from l, n_1, n_2"):
        spectrum([structure], properties=Labels("m", [[0]]))
    with pytest.raises(ValueError, match=r"type \[13, 29\], expected only \[79\]"):
        SoapRadialSpectrum(types=(79,))([structure])


# -- parts of the result -------------------------------------------------------------------

SELECTIONS = {
    "samples": ({"samples": Labels("atom", [[0], [2]])}, lambda label: label[-4] in (0, 2)),
    "one system": ({"samples": Labels("system", [[1]])}, lambda label: label[-5] == 1),
    "properties": (
        {"properties": Labels(["l", "n_2"], [[0, 1], [2, 0], [0, 0]])},
        lambda label: (label[-3], label[-1]) in {(0, 1), (2, 0), (0, 0)},
    ),
    "keys": ({"keys": Labels("center_type", [[29]])}, lambda label: label[0] == 29),
    "nothing": ({"keys": Labels("center_type", [[99]])}, lambda label: False),
}


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("name", ["power", "power of Gaussians"])
def test_selections_are_parts_of_the_whole(name, selection):
    structures = [STRUCTURES["alloy"], STRUCTURES["molecule"]]
    options, belongs = SELECTIONS[selection]
    whole = DESCRIPTORS[name](structures, gradients=ALL)
    part = DESCRIPTORS[name](structures, gradients=ALL, **options)
    expected = {label: value for label, value in dense(whole).items() if belongs(label)}
    assert dense(part) == pytest.approx(expected, abs=1e-13)
    for key, block in part.items():
        for parameter, gradient in block.gradients():
            assert_part(block, gradient, whole.block(key), parameter)


def assert_part(block, gradient, whole, parameter):
    """Rows of a gradient are those of the same samples and properties of the whole."""
    other = whole.gradient(parameter)
    columns = [whole.properties.position(entry) for entry in block.properties]
    places = [whole.samples.position(entry) for entry in block.samples]
    rows = []
    for entry in gradient.samples.values.tolist():
        wanted = [places[entry[0]], *entry[1:]]
        rows.append(other.samples.position(wanted))
    assert None not in rows
    assert len(rows) == np.isin(other.samples["sample"], places).sum()
    np.testing.assert_allclose(gradient.values, other.values[rows][..., columns], atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_pairs_have_the_gradients_of_their_values(structure):
    by_pair = SphericalExpansionByPair(**SMOOTH, radial=Gto(2), max_angular=2)
    for check in verify_gradients(by_pair, [STRUCTURES[structure]], count=6):
        assert check.passed, check


def test_pairs_sum_to_the_expansion():
    settings = {**SMOOTH, "radial": Gto(3), "max_angular": 2, "center_weight": 0.7}
    structures = list(STRUCTURES.values())
    whole = SphericalExpansion(**settings)(structures)
    by_pair = SphericalExpansionByPair(**settings)(structures)
    for key, block in whole.items():
        pairs = by_pair.block(
            o3_lambda=key["o3_lambda"],
            first_atom_type=key["center_type"],
            second_atom_type=key["neighbor_type"],
        )
        summed = np.zeros(block.shape)
        places = [
            block.samples.position([s, i])
            for s, i in zip(pairs.samples["system"], pairs.samples["first_atom"], strict=True)
        ]
        np.add.at(summed, places, pairs.values)
        np.testing.assert_allclose(summed, block.values, atol=1e-11)


def test_selected_parts_of_an_expansion():
    calculator, structures = DESCRIPTORS["expansion"], [STRUCTURES["alloy"]]
    whole = calculator(structures, gradients=ALL)
    part = calculator(
        structures,
        gradients=ALL,
        properties=Labels("n", [[1]]),
        keys=Labels(["o3_lambda", "neighbor_type"], [[2, 13], [0, 79]]),
    )
    kept = {(2, 13), (0, 79)}
    assert {tuple(k) for k in part.keys.values} == {
        tuple(k) for k in whole.keys.values if (k[0], k[3]) in kept
    }
    for key, block in part.items():
        np.testing.assert_allclose(block.values, whole.block(key).values[..., 1:2], atol=1e-13)
        for parameter, gradient in block.gradients():
            assert_part(block, gradient, whole.block(key), parameter)


def test_given_types_have_blocks_also_where_they_do_not_occur():
    structure = STRUCTURES["molecule"]
    wanted = {"cutoff": Cutoff(4.0), "radial": Gto(2), "max_angular": 1}
    tensor = SoapPowerSpectrum(**wanted, types=(1, 6, 7, 8))([structure], gradients=ALL)
    found = SoapPowerSpectrum(**wanted)([structure], gradients=ALL)
    assert len(tensor) == 4 * 10
    for key, block in tensor.items():
        if 7 in tuple(key):
            assert block.shape == (0, 18)
            assert block.gradient("positions").shape == (0, 3, 18)
        else:
            assert_same_block(block, found.block(key))


def assert_same_block(a, b):
    assert a.samples == b.samples
    np.testing.assert_array_equal(a.values, b.values)
    for name, gradient in a.gradients():
        np.testing.assert_array_equal(gradient.values, b.gradient(name).values)


# -- how it is computed --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["expansion of Gaussians", "power", "power of Gaussians"])
def test_threads_pieces_and_workspaces_change_nothing(name):
    calculator, structures = DESCRIPTORS[name], list(STRUCTURES.values())
    expected, seen = calculator(structures, ALL), []

    def watched(ranges):
        seen.extend(ranges)
        return ranges

    assert calculator(structures, ALL, threads=2) == expected
    assert calculator(structures, ALL, progress=watched) == expected
    assert seen[0][0] == 0
    assert seen[-1][1] == sum(map(len, structures))
    assert [start for start, _ in seen[1:]] == [stop for _, stop in seen[:-1]]
    workspace = Workspace()
    calculator([STRUCTURES["molecule"]], ALL, out=workspace)
    again = calculator(structures, ALL, out=workspace)
    assert again == expected
    first = again.block_by_id(0).values
    assert np.shares_memory(first, calculator(structures, ALL, out=workspace).block_by_id(0).values)


class Shifted(Workspace):
    """Memory that starts in the middle of a cache line."""

    def array(self, name, count, dtype):
        return np.empty(count + 1, dtype)[1:]


@pytest.mark.parametrize(
    ("calculator", "dtype"),
    [
        (SphericalExpansion, "float64"),
        (SphericalExpansion, "float32"),
        (SoapPowerSpectrum, "float64"),
    ],
)
def test_memory_may_start_anywhere(calculator, dtype):
    """Results are written past the cache only where they start at the right addresses."""
    calculator = calculator(**SMOOTH, radial=Gto(7), max_angular=2)
    frames = [STRUCTURES["molecule"], bulk("Cu").repeat(5)]
    expected = calculator(frames, ["positions"], dtype=dtype)
    shifted = calculator(frames, ["positions"], dtype=dtype, out=Shifted())
    starts = [b.gradient("positions").values.ctypes.data % 32 for b in shifted.blocks()]
    assert all(starts)
    assert shifted == expected
    for block, other in zip(expected, calculator(frames, ALL, dtype=dtype), strict=True):
        a, b = (x.gradient("positions").values for x in (block, other))
        np.testing.assert_allclose(a, b, rtol=0, atol=10 * np.finfo(dtype).eps * abs(b).max())


@pytest.mark.parametrize("name", ["expansion of Gaussians", "power", "power of Gaussians"])
def test_results_in_several_arrays_are_the_same(name, monkeypatch):
    """As when they are too large for one: here, when they are not."""
    structures = list(STRUCTURES.values())
    expected = DESCRIPTORS[name](structures, ALL)
    cotangents = random_like(expected)
    forces = DESCRIPTORS[name].vjp(structures, cotangents).positions
    monkeypatch.setattr(storage, "HEAP", 5000)
    split = DESCRIPTORS[name](structures, ALL)
    assert split == expected
    owners = {id(block.values.base) for block in split.blocks()}
    assert len(owners) > 1
    again = DESCRIPTORS[name].vjp(structures, cotangents).positions
    np.testing.assert_array_equal(again, forces)


KERNELS = (
    kernels_coupling,
    kernels_density,
    kernels_expansion,
    kernels_index,
    kernels_pair,
    kernels_search,
    kernels_spectrum,
)


@pytest.mark.parametrize("module", KERNELS, ids=lambda module: module.__name__.split(".")[-1])
def test_kernels_are_compiled_once_for_all_processes(module):
    """They are kept on disk, which functions inside of functions would not be."""
    kernels = [f for f in vars(module).values() if isinstance(f, Dispatcher)]
    assert kernels
    for kernel in kernels:
        assert kernel.py_func.__closure__ is None
        assert "<locals>" not in kernel.py_func.__qualname__
        assert kernel.targetoptions["nogil"]
        assert kernel._cache.cache_path


@pytest.mark.parametrize("name", ["expansion", "power", "power of Gaussians"])
def test_single_precision_is_double_precision_rounded(name):
    double, single = (
        DESCRIPTORS[name]([STRUCTURES["alloy"]], ALL, dtype=dtype)
        for dtype in (np.float64, np.float32)
    )
    for a, b in zip(double.blocks(), single.blocks(), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_array_equal(a.values.astype(np.float32), b.values)
        for parameter, gradient in a.gradients():
            scale = np.abs(gradient.values).max()
            error = np.abs(gradient.values - b.gradient(parameter).values).max()
            assert error <= 3e-7 * scale


def test_structures_come_in_any_form(tmp_path):
    spectrum, structures = DESCRIPTORS["power"], [STRUCTURES["alloy"], STRUCTURES["molecule"]]
    expected = spectrum(structures)
    path = tmp_path / "structures.extxyz"
    ase.io.write(path, structures)
    assert_same(expected, spectrum(path), atol=1e-6)
    assert_same(spectrum(structures[0]), spectrum(structures[:1]))
    assert_same(expected, spectrum([structures[0], structures[1].copy()]))
    pytest.importorskip("torch")
    from nablatom.systems import atomic_data

    batch = atomic_data.batched([atomic_data.from_ase(s) for s in structures])
    assert_same(expected, spectrum(batch), atol=1e-12)


# -- without storing gradients -------------------------------------------------------------


def random_like(tensor, seed=0):
    random = np.random.default_rng(seed)
    blocks = [
        type(b)(random.normal(size=b.shape), b.samples, b.components, b.properties)
        for b in tensor.blocks()
    ]
    return type(tensor)(tensor.keys, blocks)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_vjp_is_the_contraction_with_stored_gradients(name, threads):
    calculator, structures = DESCRIPTORS[name], list(STRUCTURES.values())
    tensor = calculator(structures, ALL)
    cotangents = random_like(tensor)
    first = np.cumsum([0, *map(len, structures)])
    expected = {
        "positions": np.zeros((first[-1], 3)),
        "strain": np.zeros((len(structures), 3, 3)),
        "cell": np.zeros((len(structures), 3, 3)),
    }
    for block, cotangent in zip(tensor.blocks(), cotangents.blocks(), strict=True):
        for parameter, gradient in block.gradients():
            of = gradient.samples["sample"]
            axes = tuple(range(2 if parameter == "positions" else 3, gradient.values.ndim))
            c = cotangent.values[of]
            c = np.expand_dims(c, tuple(range(1, axes[0])))
            rows = (gradient.values * c).sum(axis=axes)
            system = block.samples["system"][of]
            if parameter == "positions":
                place = first[system] + gradient.samples["atom"]
            else:
                place = system
            np.add.at(expected[parameter], place, rows)
    found = calculator.vjp(structures, cotangents, threads=threads)
    for parameter, value in expected.items():
        np.testing.assert_allclose(getattr(found, parameter), value, atol=1e-10)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_jvp_is_adjoint_to_vjp(name):
    calculator, structures = DESCRIPTORS[name], list(STRUCTURES.values())
    random = np.random.default_rng(1)
    tangents = {
        "positions": random.normal(size=(sum(map(len, structures)), 3)),
        "strain": random.normal(size=(len(structures), 3, 3)),
        "cell": random.normal(size=(len(structures), 3, 3)),
    }
    cotangents = random_like(calculator(structures))
    back = calculator.vjp(structures, cotangents)
    for chosen in (["positions"], ["strain"], ["cell"], ALL):
        some = {parameter: tangents[parameter] for parameter in chosen}
        forward = calculator.jvp(structures, some)
        assert forward.keys == cotangents.keys
        total = sum(
            float((a.values * b.values).sum())
            for a, b in zip(forward.blocks(), cotangents.blocks(), strict=True)
        )
        expected = sum(float((getattr(back, p) * t).sum()) for p, t in some.items())
        assert total == pytest.approx(expected, rel=1e-9)


def test_wrong_cotangents_and_tangents_are_named():
    calculator, structures = DESCRIPTORS["power"], [STRUCTURES["alloy"]]
    cotangents = random_like(calculator(structures))
    with pytest.raises(ValueError, match="cotangents have a block"):
        calculator.vjp([STRUCTURES["molecule"]], cotangents)
    with pytest.raises(ValueError, match="other samples"):
        calculator.vjp(structures * 2, cotangents)
    with pytest.raises(ValueError, match=r"has shape \(3, 3\), expected \(1, 3, 3\)"):
        calculator.jvp(structures, {"strain": np.eye(3)})
