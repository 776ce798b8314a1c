"""Calculators from the dictionaries that featomic takes."""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from nablatom.descriptors.cutoff import Cutoff, ShiftedCosine, Step
from nablatom.descriptors.density import Delta, Gaussian, SmearedPowerLaw
from nablatom.descriptors.plain import from_plain
from nablatom.descriptors.radial_basis import Gto
from nablatom.descriptors.scaling import Willatt2018

__all__ = ["from_featomic"]

Settings: TypeAlias = Mapping[str, Any]

OF_DENSITIES = (
    "SphericalExpansion",
    "SphericalExpansionByPair",
    "SoapRadialSpectrum",
    "SoapPowerSpectrum",
    "LodeSphericalExpansion",
)
OF_BASIS = ("type", "spline_accuracy")
WITHOUT_BASIS = ("SortedDistances", "AtomicComposition", "NeighborList")


def from_featomic(name: str, hypers: Settings) -> Any:
    """The calculator of this name with the settings that featomic's takes.

    Parameters
    ----------
    name
        Of the class: ``SoapPowerSpectrum``, ``LodeSphericalExpansion``, ``NeighborList``, …
    hypers
        What is passed to featomic's class by keyword, dictionaries within.

    Raises
    ------
    ValueError
        A setting that is unknown, or has no counterpart here; the message names it.

    Examples
    --------
    >>> hypers = {
    ...     "cutoff": {"radius": 5.0, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    ...     "density": {"type": "Gaussian", "width": 0.3},
    ...     "basis": {"type": "TensorProduct", "max_angular": 6,
    ...               "radial": {"type": "Gto", "max_radial": 7}},
    ... }
    >>> from_featomic("SoapPowerSpectrum", hypers).radial
    Gto(max_radial=7, radius=None)
    """
    if name in WITHOUT_BASIS:
        return from_plain({name: dict(hypers)})
    if name not in OF_DENSITIES:
        known = ", ".join((*OF_DENSITIES, *WITHOUT_BASIS))
        raise ValueError(f"no counterpart of featomic's {name!r}; there are those of {known}")
    return _of_density(name, hypers)


def _of_density(name: str, hypers: Settings) -> Any:
    import nablatom.descriptors

    if name == "LodeSphericalExpansion":
        _check(hypers, name, required=("density", "basis"), optional=("k_cutoff",))
    else:
        _check(hypers, name, required=("cutoff", "density", "basis"))
    basis = hypers["basis"]
    _check(basis, "basis", required=("radial",), optional=("max_angular", *OF_BASIS))
    if basis.get("type", "TensorProduct") != "TensorProduct":
        raise ValueError(
            f"a basis of type {basis['type']!r} has no counterpart; take a TensorProduct, and "
            "select properties of the result"
        )
    settings: dict[str, Any] = {"radial": _radial(basis["radial"])}
    settings |= _density(hypers["density"])
    if name != "SoapRadialSpectrum":
        _check(basis, "basis", required=("radial", "max_angular"), optional=OF_BASIS)
        settings["max_angular"] = _whole(basis, "max_angular")
    if name == "LodeSphericalExpansion":
        settings["k_cutoff"] = hypers.get("k_cutoff")
        if settings.pop("scaling", None) is not None:
            raise ValueError("LODE has no radial scaling")
    else:
        settings["cutoff"] = _cutoff(hypers["cutoff"])
    return getattr(nablatom.descriptors, name)(**settings)


def _cutoff(cutoff: Settings) -> Cutoff:
    _check(cutoff, "cutoff", required=("radius",), optional=("smoothing",))
    smoothing = cutoff.get("smoothing") or {"type": "Step"}
    kind = smoothing.get("type")
    radius = _number(cutoff, "radius")
    if kind == "Step":
        return Cutoff(radius, None, Step())
    if kind == "ShiftedCosine":
        _check(smoothing, "smoothing", required=("type", "width"))
        width = _number(smoothing, "width")
        return Cutoff(radius, width, ShiftedCosine()) if width else Cutoff(radius, None, Step())
    raise ValueError(f"smoothing must be ShiftedCosine or Step, got {kind!r}")


def _density(density: Settings) -> dict[str, Any]:
    own = {
        key: value for key, value in density.items() if key not in ("center_atom_weight", "scaling")
    }
    kind = own.pop("type", None)
    makers: dict[str, Callable[..., Any]] = {
        "Gaussian": Gaussian,
        "DiracDelta": Delta,
        "SmearedPowerLaw": _power_law,
    }
    if kind not in makers:
        raise ValueError(f"the density must be one of {', '.join(makers)}, got {kind!r}")
    try:
        made = makers[kind](**own)
    except TypeError as error:
        raise ValueError(f"settings of the density {kind}: {error}") from None
    weight = _number({"center_atom_weight": 1.0, **density}, "center_atom_weight")
    return {"density": made, "center_weight": weight, "scaling": _scaling(density.get("scaling"))}


def _power_law(smearing: float, exponent: float) -> SmearedPowerLaw | Gaussian:
    """A power of zero is featomic's way to say Gaussian."""
    return SmearedPowerLaw(smearing, exponent) if exponent else Gaussian(smearing)


def _scaling(scaling: Settings | None) -> Willatt2018 | None:
    if scaling is None:
        return None
    _check(scaling, "scaling", required=("type", "scale", "rate", "exponent"))
    if scaling["type"] != "Willatt2018":
        raise ValueError(f"the scaling must be Willatt2018, got {scaling['type']!r}")
    return Willatt2018(scaling["scale"], scaling["rate"], scaling["exponent"])


def _radial(radial: Settings) -> Gto:
    if radial.get("type") != "Gto":
        raise ValueError(
            f"the radial basis must be Gto, got {radial.get('type')!r}; give others as objects "
            "of nablatom.descriptors"
        )
    _check(radial, "radial", required=("type", "max_radial"), optional=("radius",))
    radius = None if radial.get("radius") is None else _number(radial, "radius")
    return Gto(_whole(radial, "max_radial"), radius)


def _number(settings: Settings, name: str) -> float:
    value = settings[name]
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


def _whole(settings: Settings, name: str) -> int:
    value = _number(settings, name)
    if value != round(value):
        raise ValueError(f"{name} must be a whole number, got {value:g}")
    return round(value)


def _check(
    settings: Settings, what: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected settings of {what} as 'name: value', got {settings!r}")
    missing = [name for name in required if name not in settings]
    unknown = [name for name in settings if name not in (*required, *optional)]
    if missing or unknown:
        found = f"missing: {', '.join(missing)}" if missing else f"unknown: {', '.join(unknown)}"
        raise ValueError(
            f"settings of {what}: {found}; expected {', '.join((*required, *optional))}"
        )
