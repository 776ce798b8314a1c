"""Small descriptors: point densities on spherical waves, without the atom itself."""

from nablatom.descriptors import (
    Cutoff,
    Delta,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SphericalExpansion,
    SphericalWaves,
)


def basis(cutoff=5.5, width=1.5, max_radial=5):
    return {
        "cutoff": Cutoff(cutoff, width=width),
        "radial": SphericalWaves(max_radial),
        "density": Delta(),
        "center_weight": 0.0,
    }


def expansion(max_angular=6, **settings):
    return SphericalExpansion(**basis(**settings), max_angular=max_angular)


def radial_spectrum(**settings):
    return SoapRadialSpectrum(**basis(**settings))


def power_spectrum(max_angular=6, radial=True, **settings):
    return SoapPowerSpectrum(
        **basis(**settings), max_angular=max_angular, unique=True, radial_spectrum=radial
    )
