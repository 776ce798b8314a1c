import ase
import numpy as np
import pytest
from ase.build import molecule

from nablatom.descriptors import (
    G2,
    G5,
    AtomicSymmetryFunctions,
    Bernstein,
    Bispectrum,
    Cutoff,
    Delta,
    EquivariantPowerSpectrum,
    Functions,
    Gaussian,
    Gto,
    LodeSphericalExpansion,
    NeighborList,
    Polynomial,
    SmearedPowerLaw,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SortedDistances,
    SphericalBessel,
    SphericalExpansion,
    Step,
    Tabulated,
    Willatt2018,
)
from nablatom.descriptors.featomic import from_featomic
from nablatom.descriptors.settings import from_yaml, to_yaml

POINTS = np.linspace(0, 5, 8)
CALCULATORS = [
    SphericalExpansion(),
    SoapPowerSpectrum(
        cutoff=Cutoff(4.5, 1.0, Polynomial(4)),
        radial=SphericalBessel(4, radius=4.5),
        density=Delta(),
        scaling=Willatt2018(2.0, 1.0, 3),
        center_weight=0.5,
        types=(1, 8),
        max_angular=3,
    ),
    SoapPowerSpectrum(cutoff=Cutoff(4.0, None, Step()), radial=Bernstein(4), density=Gaussian(0.4)),
    EquivariantPowerSpectrum(SphericalExpansion(max_angular=2), max_lambda=2),
    Bispectrum(SphericalExpansion(radial=Tabulated(POINTS, np.cos(POINTS)[:, None])), -1),
    LodeSphericalExpansion(radial=Gto(3, radius=2.0), density=SmearedPowerLaw(1.0, 6.0)),
    SortedDistances(4.0, 5, separate_neighbor_types=False),
    NeighborList(4.0, self_pairs=True),
    AtomicSymmetryFunctions((G2(0.5), G5(0.1, 2.0, -1.0)), Cutoff(5.0, None)),
]
HYPERS = {
    "cutoff": {"radius": 3.5, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {
        "type": "Gaussian",
        "width": 0.3,
        "center_atom_weight": 0.7,
        "scaling": {"type": "Willatt2018", "scale": 2.0, "rate": 1.0, "exponent": 3},
    },
    "basis": {
        "type": "TensorProduct",
        "max_angular": 2,
        "radial": {"type": "Gto", "max_radial": 3},
        "spline_accuracy": 1e-10,
    },
}


@pytest.mark.parametrize("calculator", CALCULATORS, ids=lambda c: type(c).__name__)
def test_round_trip_through_yaml(calculator):
    found = from_yaml(to_yaml(calculator))
    assert found == calculator
    assert repr(found) == repr(calculator)
    assert hash(found) == hash(calculator)


def test_functions_have_no_text():
    with pytest.raises(ValueError, match="cannot be saved as text"):
        to_yaml(SphericalExpansion(radial=Functions((np.cos,))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- 1", "expected one calculator"),
        ("NoSuchThing: {}", "no class 'NoSuchThing'"),
        ("SortedDistances: 3", "settings of SortedDistances as"),
        ("SortedDistances: {cutof: 3}", "cutof"),
    ],
)
def test_wrong_text_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        from_yaml(text)


def test_settings_of_featomic():
    found = from_featomic("SphericalExpansion", HYPERS)
    assert found == SphericalExpansion(
        cutoff=Cutoff(3.5, 0.5),
        radial=Gto(3),
        density=Gaussian(0.3),
        scaling=Willatt2018(2.0, 1.0, 3),
        center_weight=0.7,
        max_angular=2,
    )
    step = {**HYPERS, "cutoff": {"radius": 3.5, "smoothing": {"type": "Step"}}}
    assert from_featomic("SoapPowerSpectrum", step).cutoff == Cutoff(3.5, None, Step())


@pytest.mark.parametrize("name", ["SphericalExpansion", "SoapRadialSpectrum", "SoapPowerSpectrum"])
def test_settings_of_featomic_give_its_values(name):
    featomic = pytest.importorskip("featomic")
    basis = dict(HYPERS["basis"])
    if name == "SoapRadialSpectrum":
        del basis["max_angular"], basis["type"]
    hypers = {**HYPERS, "basis": basis}
    structures = [molecule("CH3OH"), ase.Atoms("CO", [[0, 0, 0], [0.3, 1.4, 2.9]])]
    ours = from_featomic(name, hypers)(structures)
    theirs = getattr(featomic, name)(**hypers).compute(structures)
    assert len(ours) == len(theirs)
    for key, block in ours.items():
        other = theirs.block({n: int(key[n]) for n in key.names})
        np.testing.assert_array_equal(block.samples.values, other.samples.values)
        np.testing.assert_array_equal(block.properties.values, other.properties.values)
        np.testing.assert_allclose(block.values, other.values, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": {"type": "Explicit", "radial": {}}}, "'Explicit' has no counterpart"),
        ({"basis": {"max_angular": 3}}, "missing: radial"),
        ({"density": {"type": "Square"}}, "one of Gaussian, DiracDelta"),
        ({"density": {"type": "Gaussian", "widht": 1}}, "widht"),
        ({"cutoff": {"radius": 3.0, "smoothing": {"type": "Sine"}}}, "ShiftedCosine or Step"),
        ({"cutof": 3}, "unknown: cutof"),
    ],
)
def test_wrong_settings_of_featomic_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        from_featomic("SphericalExpansion", {**HYPERS, **change})
    with pytest.raises(ValueError, match="no counterpart of featomic's 'Dummy'"):
        from_featomic("Dummy", HYPERS)


@pytest.mark.parametrize("kind", [SphericalExpansion, SoapRadialSpectrum, SoapPowerSpectrum])
def test_building_blocks_are_not_numbers_and_names(kind):
    with pytest.raises(TypeError, match=r"such as Cutoff\(5.0\), got 5.0"):
        kind(cutoff=5.0)
    with pytest.raises(TypeError, match=r"such as Gto\(6\), got 'gto'"):
        kind(radial="gto")


def test_cotangents_have_labels():
    with pytest.raises(TypeError, match=r"must be a TensorMap .* got ndarray"):
        SoapRadialSpectrum(radial=Gto(1)).vjp(molecule("H2"), np.ones((2, 2)))
