"""Agreement with featomic where it is right, and with the stored data of its tutorials."""

from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

import nablatom
from nablatom.descriptors import (
    Cutoff,
    Gaussian,
    Gto,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SphericalExpansion,
    SphericalExpansionByPair,
    Willatt2018,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
ALL = ["positions", "strain", "cell"]


def hypers(*, cutoff=4.0, width=0.5, density=0.3, max_radial=4, max_angular=3, scaling=None):
    """Settings of featomic, with exact radial integrals."""
    gaussian = {"type": "Gaussian", "width": density}
    if scaling is not None:
        gaussian["scaling"] = {"type": "Willatt2018", **scaling}
    return {
        "cutoff": {"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": width}},
        "density": gaussian,
        "basis": {
            "type": "TensorProduct",
            "max_angular": max_angular,
            "radial": {"type": "Gto", "max_radial": max_radial},
            "spline_accuracy": None,
        },
    }


def without_angles(settings):
    basis = {"radial": settings["basis"]["radial"], "spline_accuracy": None}
    return {**settings, "basis": basis}


OURS = {
    "cutoff": Cutoff(4.0, width=0.5),
    "density": Gaussian(0.3),
    "radial": Gto(max_radial=4),
}
FAR = {
    "cutoff": Cutoff(8.0, width=0.5),
    "density": Gaussian(0.5),
    "radial": Gto(max_radial=2),
}
SCALED = {"scale": 2.0, "rate": 1.5, "exponent": 3.0}
PAIRS = {
    "SphericalExpansion": (SphericalExpansion(**OURS, max_angular=3), hypers()),
    "SoapRadialSpectrum": (SoapRadialSpectrum(**OURS), without_angles(hypers())),
    "SoapPowerSpectrum": (SoapPowerSpectrum(**OURS, max_angular=3), hypers()),
    "SphericalExpansion, far": (
        SphericalExpansion(**FAR, max_angular=1),
        hypers(cutoff=8.0, density=0.5, max_radial=2, max_angular=1),
    ),
    "SoapPowerSpectrum, scaled": (
        SoapPowerSpectrum(**OURS, max_angular=3, scaling=Willatt2018(**SCALED)),
        hypers(scaling=SCALED),
    ),
}


def structures():
    """Three elements and more, molecules and crystals, several images of one neighbor."""
    alloy = bulk("CuAu", "cesiumchloride", a=3.1)
    alloy.rattle(0.1, seed=1)
    alloy.set_cell(alloy.cell.array + 0.1, scale_atoms=False)
    return [molecule("CH3CH2OH"), alloy, bulk("Cu") * (2, 1, 1), ase.Atoms("N")]


@pytest.fixture(scope="module")
def featomic():
    return pytest.importorskip("featomic")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PAIRS)
def test_values_gradients_and_labels_are_those_of_featomic(featomic, name):
    calculator, settings = PAIRS[name]
    theirs = getattr(featomic, name.split(",")[0])(**settings).compute(structures(), gradients=ALL)
    ours = calculator(structures(), gradients=ALL)
    assert ours.keys.names == theirs.keys.names
    np.testing.assert_array_equal(ours.keys.values, theirs.keys.values)
    for a, b in zip(ours.blocks(), theirs.blocks(), strict=True):
        assert_block(a, b)
        for parameter in ALL:
            # the two axes of strain and cell have each other's label there; the data are right
            assert_block(a.gradient(parameter), b.gradient(parameter), relative=1e-8)


def assert_block(a, b, *, relative=0.0):
    for axis in ("samples", "properties"):
        mine, other = getattr(a, axis), getattr(b, axis)
        assert mine.names == other.names
        np.testing.assert_array_equal(mine.values, other.values)
    scale = max(1.0, np.abs(b.values).max(initial=0.0))
    np.testing.assert_allclose(a.values, b.values, rtol=0, atol=relative * scale or 1e-9)


@pytest.mark.filterwarnings("ignore")
def test_pairs_are_those_of_featomic(featomic):
    """In another order, as theirs is that of a search; and no axis in the wrong order."""
    frames = structures()
    theirs = featomic.SphericalExpansionByPair(**hypers()).compute(frames, gradients=ALL)
    ours = SphericalExpansionByPair(**OURS, max_angular=3)(frames, gradients=ALL)
    np.testing.assert_array_equal(
        np.unique(ours.keys.values, axis=0), np.unique(theirs.keys.values, axis=0)
    )
    for key, b in theirs.items():
        a = ours.block(
            {name: int(value) for name, value in zip(key.names, key.values, strict=True)}
        )
        place = {tuple(row): i for i, row in enumerate(a.samples.values.tolist())}
        rows = [place[tuple(row)] for row in b.samples.values.tolist()]
        assert len(rows) == len(a)
        np.testing.assert_allclose(a.values[rows], b.values, atol=1e-9)
        for parameter in ("strain", "cell"):
            stored = b.gradient(parameter)
            mine = a.gradient(parameter).values[np.array(rows, np.int64)[stored.samples["sample"]]]
            np.testing.assert_allclose(mine, stored.values, atol=1e-7)
        mine = a.gradient("positions")
        found = {tuple(row): i for i, row in enumerate(mine.samples.values.tolist())}
        stored = b.gradient("positions")
        at = [found[rows[s], y, i] for s, y, i in stored.samples.values.tolist()]
        np.testing.assert_allclose(mine.values[at], stored.values, atol=1e-7)


def tutorial(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return nablatom.load(path)


def test_the_radial_spectrum_of_the_tutorial():
    expected = tutorial("radial-spectrum.mts")
    atoms = ase.Atoms(
        "COO2N2",
        [(0, 0, 0), (1.2, 0, 0), (0, 6, 0), (1.1, 6, 0), (6, 0, 0), (7.3, 0, 0)],
    )
    spectrum = SoapRadialSpectrum(
        cutoff=Cutoff(2.5, width=0.5), density=Gaussian(0.2), radial=Gto(max_radial=2)
    )
    assert_tutorial(spectrum(atoms, gradients=["positions"]), expected)


def test_the_spherical_expansion_of_the_tutorial():
    expected = tutorial("spherical-expansion.mts")
    atoms = ase.Atoms("CO2", [(0, 0, 0), (-0.2, -0.65, 0.94), (0.2, 0.65, -0.94)])
    expansion = SphericalExpansion(
        cutoff=Cutoff(3.5, width=0.5),
        density=Gaussian(0.2),
        radial=Gto(max_radial=4),
        max_angular=2,
    )
    assert_tutorial(expansion(atoms, gradients=["positions"]), expected)


def assert_tutorial(found, expected):
    """The stored gradients come from splines that are accurate in the mean value only."""
    assert len(found) == len(expected)
    for key, b in expected.items():
        a = found.block(key)
        assert a.samples == b.samples
        np.testing.assert_allclose(a.values, b.values, atol=1e-9)
        mine, stored = a.gradient("positions"), b.gradient("positions")
        assert mine.samples == stored.samples
        np.testing.assert_allclose(mine.values, stored.values, atol=1e-7)


def test_settings_that_overflow_there_work():
    """Cutoff 12 Å and narrow Gaussians: nothing overflows."""
    frame = bulk("Cu", cubic=True)
    spectrum = SoapPowerSpectrum(
        cutoff=Cutoff(12.0, width=0.2), density=Gaussian(0.2), radial=Gto(7), max_angular=2
    )
    tensor = spectrum(frame, gradients=ALL)
    for a in tensor.blocks():
        assert np.isfinite(a.values).all()
        assert np.abs(a.values).max() > 0
        assert all(np.isfinite(gradient.values).all() for _, gradient in a.gradients())
        # no atom of this crystal has a direction
        np.testing.assert_allclose(
            a.gradient("positions").values.sum(axis=0), 0, atol=1e-8 * np.abs(a.values).max()
        )
