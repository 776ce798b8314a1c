"""Analytic potentials: against ASE's, an independent sum over triplets, and the literature."""

from itertools import combinations

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.eam import EAM
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.morse import MorsePotential

torch = pytest.importorskip("torch")
pytest.importorskip("e3nn")

from nablatom.models import (  # noqa: E402
    AtomicDataDict,
    EmbeddedAtom,
    LennardJones,
    Morse,
    PairPotential,
    Setfl,
    Shifted,
    Smoothstep,
    StillingerWeber,
    Xplor,
)
from nablatom.models.spline import Splines  # noqa: E402
from nablatom.testing import MODEL_CHECKS, assert_model_contract, example_structures  # noqa: E402
from nablatom.testing.evaluation import assert_agree, data_of, evaluated  # noqa: E402

ARGON = {"epsilon": 0.0104, "sigma": 3.4}


def of(model, structure):
    return evaluated(model, data_of(model, structure))


def assert_as_in_ase(model, structure, calculator, tolerance):
    """The same energy, forces, and stress where there is one."""
    structure = structure.copy()
    structure.calc = calculator
    result = of(model, structure)
    expected = structure.get_potential_energy()
    assert_agree("energy", result.energy[0], expected, tolerance)
    assert_agree("forces", result.forces, structure.get_forces(), tolerance)
    if structure.cell.rank == 3 and structure.pbc.all():
        stress = structure.get_stress(voigt=False)
        assert_agree("stress", result.strain[0] / structure.get_volume(), stress, tolerance)


# -- pair potentials ------------------------------------------------------------------------


def argon(**options):
    return LennardJones(["Ar"], **ARGON, cutoff=6.0, **options)


ASE = {
    "Lennard-Jones, smooth": (
        argon(switch=Xplor(4.0)),
        lambda: AseLennardJones(**ARGON, rc=6.0, ro=4.0, smooth=True),
    ),
    "Lennard-Jones, shifted": (
        argon(switch=Shifted()),
        lambda: AseLennardJones(**ARGON, rc=6.0, smooth=False),
    ),
    "Morse": (
        Morse(["Ar"], depth=0.3, alpha=6.0 / 3.5, distance=3.5, cutoff=2.0 * 3.5,
              switch=Smoothstep(1.5 * 3.5)),
        lambda: MorsePotential(epsilon=0.3, r0=3.5, rho0=6.0, rcut1=1.5, rcut2=2.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("structure", example_structures(["Ar"]))
@pytest.mark.parametrize("name", ASE)
def test_pairs_as_in_ase(name, structure):
    model, calculator = ASE[name]
    structures = example_structures(["Ar"], bond=3.4)
    assert_as_in_ase(model, structures[structure], calculator(), tolerance=1e-12)


def test_second_derivatives_are_those_of_ase_by_differences():
    structure = example_structures(["Ar"], bond=3.5)["crystal"]
    data = data_of(model := argon(switch=Xplor(4.0)), structure)

    def energy(positions):
        return model({**data, "pos": positions.reshape(-1, 3)})["total_energy"].sum()

    hessian = torch.autograd.functional.hessian(energy, data["pos"].flatten())
    structure.calc = AseLennardJones(**ARGON, rc=6.0, ro=4.0, smooth=True)
    step, rows = 1e-4, []
    for k in range(structure.positions.size):
        sides = []
        for sign in (-1, 1):
            moved = structure.copy()
            moved.calc = structure.calc
            moved.positions.flat[k] += sign * step
            sides.append(moved.get_forces().flatten())
        rows.append((sides[0] - sides[1]) / (2 * step))
    assert_agree("hessian", hessian, np.array(rows), 1e-7)


def test_two_types_mix():
    mixed = LennardJones(["Ar", "Ne"], [0.01, 0.0025], [3.4, 2.8], cutoff=8.0)
    tables = LennardJones(
        ["Ar", "Ne"],
        [[0.01, 0.005], [0.005, 0.0025]],
        [[3.4, 3.1], [3.1, 2.8]],
        cutoff=8.0,
        switch=Smoothstep(6.4),
    )
    for symbols, epsilon, sigma in (("Ar2", 0.01, 3.4), ("NeAr", 0.005, 3.1), ("Ne2", 0.0025, 2.8)):
        dimer = ase.Atoms(symbols, [[0, 0, 0], [0, 0, sigma * 2 ** (1 / 6)]])
        for model in (mixed, tables):
            result = of(model, dimer)
            assert_agree("depth", result.energy[0], -epsilon, 1e-15)
            assert_agree("forces at the minimum", result.forces, np.zeros((2, 3)), 1e-14)
    morse = Morse(["H", "O"], [4.0, 1.0], [1.0, 2.0], [0.7, 1.1], cutoff=6.0)
    dimer = ase.Atoms("OH", [[0, 0, 0], [0.9, 0, 0]])
    assert_agree("depth", of(morse, dimer).energy[0], -2.0, 1e-15)


def test_parameters_can_be_fitted():
    model = argon().requires_grad_()
    data = data_of(model, example_structures(["Ar"], bond=3.5)["crystal"])

    def energy(epsilon, sigma):
        parameters = {"epsilon": epsilon, "sigma": sigma}
        return torch.func.functional_call(model, parameters, (data,))["total_energy"]

    inputs = [model.epsilon.detach().requires_grad_(), model.sigma.detach().requires_grad_()]
    assert torch.autograd.gradcheck(energy, inputs)
    assert not argon().epsilon.requires_grad


class Spring(PairPotential):
    """A pair potential of one's own."""

    def pair_energy(self, r, pair_type):
        return (r - 1.5) ** 2


def test_a_pair_potential_of_your_own():
    spring = Spring(["H"], cutoff=4.0, switch=Smoothstep(3.0))
    assert_agree("energy", of(spring, ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])).energy[0], 0.25, 0)


WRONG = {
    "epsilon": (lambda: argon_with(epsilon=[1.0, 2.0]), r"epsilon is \[1.0, 2.0\]; expected one"),
    "not symmetric": (
        lambda: LennardJones(["Ar", "Ne"], [[1, 2], [3, 4]], 1.0, cutoff=5.0),
        "a symmetric table for their pairs",
    ),
    "NaN": (lambda: argon_with(sigma=np.nan), "sigma is nan"),
    "cutoff": (lambda: argon_with(cutoff=0.0), "cutoff is 0.0; expected a positive number of Å"),
    "onset": (
        lambda: argon_with(switch=Xplor(7.0)),
        "the switch begins at 7.0 Å; expected between",
    ),
    "no element": (lambda: LennardJones(["X1"], 1.0, 1.0, cutoff=5.0), r"types are \['X1'\]"),
    "twice": (lambda: LennardJones(["H", "H"], 1.0, 1.0, cutoff=5.0), "different element symbols"),
    "strength": (
        lambda: silicon_with(strength=[1.0]),
        r"strength has shape \(1,\); expected one finite number, or a table \(1, 1, 1\)",
    ),
}


def argon_with(**options):
    return LennardJones(["Ar"], **{**ARGON, "cutoff": 6.0, **options})


@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameters_are_named(name):
    build, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        build()


# -- Stillinger and Weber -------------------------------------------------------------------

SILICON = {"A": 7.049556277, "B": 0.6022245584, "p": 4, "q": 0, "a": 1.8, "gamma": 1.2}


def silicon_with(**options):
    return StillingerWeber(
        ["Si"], **{"epsilon": 1.0, "sigma": 1.0, "strength": 1.0, **SILICON, **options}
    )


TWO_TYPES = {
    "epsilon": np.array([[2.0, 1.5], [1.5, 1.1]]),
    "sigma": np.array([[2.1, 1.9], [1.9, 1.7]]),
    "A": np.array([[7.0, 6.0], [6.0, 5.0]]),
    "B": np.array([[0.6, 0.7], [0.7, 0.5]]),
    "p": np.array([[4.0, 5.0], [5.0, 3.0]]),
    "q": np.array([[0.0, 1.0], [1.0, 0.0]]),
    "a": np.array([[1.8, 1.7], [1.7, 1.9]]),
    "gamma": np.array([[1.2, 1.0], [1.0, 0.9]]),
    "strength": np.array([[[21.0, 12.0], [12.0, 5.0]], [[30.0, 9.0], [9.0, 14.0]]]),
    "cosine": np.array([[[-0.3, -0.2], [-0.2, 0.1]], [[-0.5, 0.2], [0.2, -0.4]]]),
}


def energies_by_triplets(structure, types, p):
    """Each atom, each neighbor, each pair of neighbors, as the formula is written."""
    data = AtomicDataDict.with_edge_vectors(AtomicDataDict.from_ase(structure, 4.0, types))
    t, (centers, neighbors) = data["atom_types"].numpy(), data["edge_index"].numpy()
    vectors = data["edge_vectors"].numpy()
    energies = np.zeros(len(structure))
    for i in range(len(structure)):
        near = []
        for edge in np.flatnonzero(centers == i):
            k = (t[i], t[neighbors[edge]])
            r = np.linalg.norm(vectors[edge])
            x = r / p["sigma"][k]
            if x < p["a"][k]:
                two = p["A"][k] * (p["B"][k] * x ** -p["p"][k] - x ** -p["q"][k])
                energies[i] += 0.5 * p["epsilon"][k] * two * np.exp(1 / (x - p["a"][k]))
                near.append((k[1], vectors[edge] / r, np.exp(p["gamma"][k] / (x - p["a"][k]))))
        for (s, u, g), (q, v, h) in combinations(near, 2):
            angle = (u @ v - p["cosine"][t[i], s, q]) ** 2
            energies[i] += p["strength"][t[i], s, q] * g * h * angle
    return energies


@pytest.mark.parametrize("structure", example_structures(["Si"]))
def test_sums_over_triplets(structure):
    types = ["Si", "C"]
    crystal = example_structures(types, bond=2.2)[structure]
    model = StillingerWeber(types, **TWO_TYPES)
    assert model.cutoff == pytest.approx(1.8 * 2.1)
    expected = energies_by_triplets(crystal, types, TWO_TYPES)
    assert_agree("energies", of(model, crystal).atomic, expected, 1e-13)
    assert np.abs(expected).max() > 0.1


def test_silicon_is_as_published():
    """Cohesive energy at the lattice constant of the paper, which is the minimum."""
    model = StillingerWeber.silicon()
    result = of(model, bulk("Si", a=5.431))
    assert_agree("cohesive energy", result.atomic, [-4.3366, -4.3366], 1e-5)
    assert np.abs(result.strain).max() < 1e-2  # eV; the minimum is at 5.43095 Å
    assert of(model, bulk("Si", a=5.42)).strain.trace(axis1=1, axis2=2)[0] < 0
    assert of(model, bulk("Si", a=5.44)).strain.trace(axis1=1, axis2=2)[0] > 0


# -- the embedded atom ----------------------------------------------------------------------

CUTOFF, STEP, POINTS = 5.0, 0.0025, 2000
FINNIS = (("Cu", 0.8), ("Ag", 1.1))


def taper(r):
    """One at the center and zero, with two derivatives, at the cutoff."""
    return np.where(r < CUTOFF, (1 - (r / CUTOFF) ** 2) ** 3, 0.0)


def density(r, scale):
    return scale * np.exp(-r) * taper(r)


def embedding(rho, scale):
    return -scale * np.sqrt(rho + 0.1) + 0.05 * rho**2


def repulsion(r, first, second):
    return 5.0 * first * second * np.exp(-1.5 * r) * taper(r)


def setfl_text(elements, finnis_sinclair=False):
    """A file made by formula; numbers are wrapped in two widths, some with Fortran's exponents."""
    r, rho = STEP * np.arange(POINTS + 1), 0.0025 * np.arange(2400)
    lines = [
        "a potential",
        "by formula",
        "for tests",
        f"{len(elements)} " + " ".join(dict(elements)),
    ]
    lines.append(f"{len(rho)} 0.0025 {len(r)} {STEP} {CUTOFF}")
    for n, (_, scale) in enumerate(elements):
        lines.append(f"{29 + n} 63.5 3.6 fcc")
        lines += wrapped(embedding(rho, scale), 5)
        for _, other in elements if finnis_sinclair else [(None, 1.0)]:
            lines += wrapped(density(r, scale * (other + 1.0) / 2), 3)
    for i, (_, first) in enumerate(elements):
        for _, second in elements[: i + 1]:
            lines += wrapped(r * repulsion(r, first, second), 5)
    return "\n".join(lines) + "\n"


def wrapped(values, width):
    words = [f"{value:.16e}" for value in values]
    return [" ".join(words[k : k + width]) for k in range(0, len(words), width)]


def exact(structure, elements, finnis_sinclair=False):
    """Energies of the atoms from the formulas."""
    types = list(dict(elements))
    scales = np.array([scale for _, scale in elements])
    data = AtomicDataDict.with_edge_vectors(AtomicDataDict.from_ase(structure, CUTOFF, types))
    i, j = data["edge_index"].numpy()
    r = data["edge_lengths"][:, 0].numpy()
    own = scales[data["atom_types"].numpy()]
    made = own[j] * ((own[i] + 1.0) / 2 if finnis_sinclair else 1.0)
    rho = np.bincount(i, density(r, made), len(structure))
    pairs = np.bincount(i, repulsion(r, own[i], own[j]), len(structure))
    return embedding(rho, own) + 0.5 * pairs


@pytest.fixture(scope="module", params=[False, True], ids=["alloy", "fs"])
def potential(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("eam") / ("cuag.eam." + ("fs" if request.param else "alloy"))
    path.write_text(setfl_text(FINNIS, request.param))
    return path, request.param


@pytest.mark.parametrize("structure", example_structures(["Cu"]))
def test_tables_give_what_they_were_made_of(potential, structure):
    path, finnis_sinclair = potential
    model = EmbeddedAtom.read(path)
    assert model.type_names == ("Cu", "Ag")
    assert model.cutoff == CUTOFF
    crystal = example_structures(["Cu", "Ag"])[structure]
    expected = exact(crystal, FINNIS, finnis_sinclair)
    # h⁴/384 F'''' = 2e-10 for the steps of the tables, some times more at their ends
    assert_agree("energies", of(model, crystal).atomic, expected, 1e-8)


def test_the_embedded_atom_is_as_in_ase(potential):
    path, finnis_sinclair = potential
    crystal = example_structures(["Cu", "Ag"])["crystal"] * (2, 2, 2)
    crystal.wrap()
    calculator = EAM(potential=str(path), form="fs" if finnis_sinclair else "alloy")
    # ASE has splines of φ, not of r φ.
    assert_as_in_ase(EmbeddedAtom.read(path), crystal, calculator, 1e-9)


def test_beyond_its_last_density_the_energy_goes_on_straight():
    splines = Splines(embedding(np.linspace(0.0, 4.0, 401), 0.8)[None], spacing=0.01)
    rho = torch.tensor([3.999999, 4.0, 5.0, 9.0], dtype=torch.float64, requires_grad=True)
    values = splines(rho, torch.zeros(4, dtype=torch.int64))
    (slope,) = torch.autograd.grad(values.sum(), rho)
    exact_slope = -0.4 / np.sqrt(4.1) + 0.4
    assert_agree("slopes", slope, np.full(4, exact_slope), 1e-5)
    assert_agree("value", values[3].item(), values[1].item() + 5 * slope[1].item(), 1e-12)


def test_splines_are_exact_for_cubes():
    knots = np.linspace(0.0, 2.0, 9)
    splines = Splines(np.stack([knots**3, 1 - knots**2]), spacing=0.25)
    x = torch.linspace(0.0, 2.0, 33, dtype=torch.float64)
    for table, expected in enumerate((x**3, 1 - x**2)):
        rows = torch.full((33,), table)
        assert_agree("spline", splines(x, rows), expected, 1e-14)


def changed(line, text):
    lines = setfl_text(FINNIS[:1]).splitlines()
    lines[line] = text
    return "\n".join(lines)


DAMAGED = {
    "empty": ("", "expected three comments and a header, got 0 lines"),
    "elements": (changed(3, "2 Cu"), "line 4 is '2 Cu'; expected the number of elements"),
    "no element": (changed(3, "1 Cupper"), "line 4 names 'Cupper', which is no chemical symbol"),
    "header": (changed(4, "500 0.01"), "line 5 is '500 0.01'; expected N_rho d_rho N_r d_r cutoff"),
    "step": (changed(4, "500 -0.01 2001 0.0025 5.0"), "line 5 is .* expected at least 4 points"),
    "truncated": (setfl_text(FINNIS[:1])[:-200], "there are .* words after line 5; expected 6406"),
    "no number": (changed(6, "1.0 2.0 3.0 four 5.0"), "a table holds something that is no number"),
    "NaN": (changed(6, "1.0 2.0 3.0 nan 5.0"), "a table holds NaN or infinity"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tables_are_refused(tmp_path, name):
    text, message = DAMAGED[name]
    path = tmp_path / "damaged.eam.alloy"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"damaged.eam.alloy is not a setfl file: {message}"):
        Setfl.read(path)


def test_exponents_as_fortran_writes_them(tmp_path):
    path = tmp_path / "fortran.eam.alloy"
    text = setfl_text(FINNIS[:1])
    path.write_text(text)
    expected = Setfl.read(path)
    header, body = text.split("fcc\n")
    path.write_text(header + "fcc\n" + body.replace("e", "D"))
    np.testing.assert_array_equal(Setfl.read(path).pair, expected.pair)


# -- all of them ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("eam") / "cuag.eam.alloy"
    path.write_text(setfl_text(FINNIS))
    return {
        "Lennard-Jones": (LennardJones(["Ar", "Ne"], [0.0104, 0.003], [3.4, 2.8], cutoff=6.0), 3.2),
        "Xplor": (argon(switch=Xplor(4.0)), 3.4),
        "Morse": (Morse(["Cu", "Ag"], [0.34, 0.3], 1.36, [2.87, 3.1], cutoff=5.0), None),
        "Stillinger-Weber": (StillingerWeber.silicon(), None),
        "Stillinger-Weber, two types": (StillingerWeber(["Si", "C"], **TWO_TYPES), 2.3),
        "embedded atom": (EmbeddedAtom.read(path), None),
    }


@pytest.mark.parametrize("check", MODEL_CHECKS)
@pytest.mark.parametrize(
    "name",
    [
        "Lennard-Jones",
        "Xplor",
        "Morse",
        "Stillinger-Weber",
        "Stillinger-Weber, two types",
        "embedded atom",
    ],
)
def test_models_keep_the_contract(models, name, check):
    model, bond = models[name]
    structures = example_structures(model.type_names, bond=bond)
    assert_model_contract(model, structures, checks=[check])


@pytest.mark.parametrize("name", ["Lennard-Jones", "Morse", "Stillinger-Weber", "embedded atom"])
def test_two_derivatives_by_positions_cell_and_parameters(models, name):
    model, bond = models[name]
    data = data_of(model, example_structures(model.type_names, bond=bond)["one atom"])
    parameters = {k: p.detach() for k, p in model.named_parameters() if k in FITTED}

    def energy(positions, cell, *values):
        moved = {**data, "pos": positions, "cell": cell}
        fitted = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(model, fitted, (moved,))["total_energy"]

    leaves = [x.clone().requires_grad_() for x in (data["pos"], data["cell"], *parameters.values())]
    assert torch.autograd.gradcheck(energy, leaves)
    assert torch.autograd.gradgradcheck(energy, leaves)


FITTED = ("epsilon", "sigma", "depth", "alpha", "distance", "strength", "gamma", "cosine")


@pytest.mark.parametrize("name", ["Lennard-Jones", "Stillinger-Weber", "embedded atom"])
def test_one_graph_for_any_number_of_atoms(models, name):
    """Traced without a break, and once: other sizes do not need another graph."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    model, bond = models[name]
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=True)
    crystal = example_structures(model.type_names, bond=bond)["crystal"]
    for structure in (crystal, crystal * (2, 1, 1), crystal * (2, 2, 1)):
        data = data_of(model, structure)
        torch.testing.assert_close(compiled(data)["total_energy"], model(data)["total_energy"])
    assert counter.frame_count == 1
