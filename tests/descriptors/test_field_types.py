"""Settings that are wrong are named, with what was expected and what came."""

import numpy as np
import pytest

from nablatom.descriptors import (
    AtomicComposition,
    AtomicSymmetryFunctions,
    Bispectrum,
    Cutoff,
    Delta,
    EquivariantPowerSpectrum,
    Gto,
    LodeSphericalExpansion,
    NeighborList,
    SortedDistances,
    SphericalExpansionByPair,
    from_yaml,
)
from nablatom.descriptors.field_types import check_settings

EXPANSION = "expansion: {SphericalExpansion: {}}"
BASIS = "basis: {radial: {type: Gto, max_radial: 2}, max_angular: 1}"
DENSITY = "density: {type: Gaussian, width: 0.3}"
STEP = "cutoff: {radius: 5.0}"
TEXTS = {
    "SoapPowerSpectrum: {cutof: 4}": "there is no 'cutof'; choose from cutoff, radial",
    "SoapPowerSpectrum: {cutoff: 4}": "cutoff must be a Cutoff, got 4",
    "SoapPowerSpectrum: {cutoff: {Cutoff: {radius: far}}}": "radius must be a number, got 'far'",
    "SoapPowerSpectrum: {cutoff: {Cutoff: {}}}": "radius must be given",
    "SoapPowerSpectrum: {max_angular: 2.5}": "max_angular must be a whole number, got 2.5",
    "SoapPowerSpectrum: {max_angular: true}": "max_angular must be a whole number, got True",
    "SoapPowerSpectrum: {radial: {Gaussian: {width: 1}}}": "radial must be a RadialBasis",
    "SoapPowerSpectrum: {radial: {Gto: 3}}": "settings of Gto as a mapping, got 3",
    "SoapPowerSpectrum: {unique: 1}": "unique must be true or false, got 1",
    "SphericalExpansion: {types: 3}": r"types must be a list of \(a whole number\) or nothing",
    "SphericalExpansion: {types: [Cu]}": "types must be a list",
    "SphericalExpansion: {scaling: 3}": "scaling must be a Willatt2018 or nothing, got 3",
    "SphericalExpansion: {density: {Gaussian: {width: x}}}": "settings of Gaussian: width must be",
    "SortedDistances: {cutoff: 4}": "max_neighbors must be given",
    "AtomicSymmetryFunctions: {functions: [{G2: {eta: x}}]}": "settings of G2: eta must be",
    "AtomicSymmetryFunctions: {functions: [3]}": "functions must be a list",
    "Bispectrum: {expansion: 3}": "expansion must be a calculator, got 3",
    f"EquivariantPowerSpectrum: {{{EXPANSION}, max_lambda: -1}}": "max_lambda counts from 0",
    "Soap: {}": "no class 'Soap'; choose from .*SoapPowerSpectrum",
    "verify_gradients: {}": "no class 'verify_gradients'",
    f"SphericalExpansion: {{{DENSITY}, {BASIS}}}": "missing: cutoff",
    f"SphericalExpansion: {{cutoff: 5, {DENSITY}, {BASIS}}}": "settings of cutoff as .* got 5",
    f"SphericalExpansion: {{cutoff: {{radius: x}}, {DENSITY}, {BASIS}}}": "radius must be a number",
    f"SphericalExpansion: {{cutoff: {{radius: 5, smoothing: {{type: ShiftedCosine}}}}, "
    f"{DENSITY}, {BASIS}}}": "settings of smoothing: missing: width",
    f"SphericalExpansion: {{{STEP}, {DENSITY}, basis: {{radial: {{type: Gto, max_radial: 2}}}}}}": (
        "settings of basis: missing: max_angular"
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text):
    with pytest.raises(ValueError, match=TEXTS[text]):
        from_yaml(text)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SphericalExpansionByPair, {"cutoff": 5.0}, "cutoff must be a Cutoff, got 5.0"),
        (EquivariantPowerSpectrum, {"expansion": 1}, "expansion must be a calculator, got 1"),
        (Bispectrum, {"expansion": "soap"}, "expansion must be a calculator, got 'soap'"),
        (SortedDistances, {"cutoff": 4.0, "max_neighbors": 1.5}, "max_neighbors must be a whole"),
        (NeighborList, {"cutoff": "4"}, "cutoff must be a number, got '4'"),
        (NeighborList, {"cutoff": 4, "self_pairs": None}, "self_pairs must be true or false"),
        (AtomicComposition, {"per_system": 1}, "per_system must be true or false, got 1"),
        (AtomicSymmetryFunctions, {"functions": 1}, "functions must be a list"),
        (
            LodeSphericalExpansion,
            {"radial": Gto(1, 2.0), "density": Delta()},
            r"density must be a SmearedPowerLaw or a Gaussian, got Delta\(\)",
        ),
    ],
)
def test_calculators_check_what_they_are_given(kind, settings, message):
    with pytest.raises(TypeError, match=message):
        kind(**settings)


def test_numbers_of_any_library_are_numbers():
    check_settings(Cutoff, {"radius": np.float32(3), "width": None})
    check_settings(Gto, {"max_radial": np.int64(3), "radius": 2})
