"""Which models go into files: what of them stands on a card, and how they are made of it again.

The tables of analytic potentials are weights, as those of networks are; what is left for the card
are types, cutoffs and the like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.models.embedded_atom import EmbeddedAtom
from nablatom.models.lennard_jones import LennardJones
from nablatom.models.morse import Morse
from nablatom.models.nequip import NequIP
from nablatom.models.nequip_settings import NequIPSettings
from nablatom.models.pair import PairPotential
from nablatom.models.setfl import Setfl
from nablatom.models.spline import Splines
from nablatom.models.stillinger_weber import StillingerWeber
from nablatom.models.switching import Shifted, Smoothstep, Switch, Xplor

__all__ = ["ARCHITECTURES", "Architecture", "Storable", "architecture_of"]

Settings: TypeAlias = dict[str, Any]
Weights: TypeAlias = Mapping[str, torch.Tensor]
Numbers: TypeAlias = NDArray[np.float64]
Storable: TypeAlias = NequIP | LennardJones | Morse | StillingerWeber | EmbeddedAtom
"""Models that go into files."""

SWITCHES = {"Smoothstep": Smoothstep, "Xplor": Xplor, "Shifted": Shifted}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of model.

    Attributes
    ----------
    kind
        Its class.
    settings
        What stands on the card of a model, in what JSON can hold.
    build
        A model from settings, weights and their precision. Of the weights, it may read no more
        than the shapes.
    """

    kind: type[Storable]
    settings: Callable[[Any], Settings]
    build: Callable[[Settings, Weights, torch.dtype], Storable]


def architecture_of(model: object) -> Architecture:
    """The kind of a model.

    Raises
    ------
    TypeError
        The model is of a kind that cannot be made again.
    """
    found = ARCHITECTURES.get(type(model).__name__)
    if found is None or type(model) is not found.kind:
        raise TypeError(
            f"a {type(model).__name__} cannot be saved; models that can are "
            f"{', '.join(ARCHITECTURES)} (for a model with outputs around it, save what is inside)"
        )
    return found


# -- NequIP ------------------------------------------------------------------------------


def _of_nequip(model: NequIP) -> Settings:
    return model.settings.model_dump(mode="json")


def _nequip(settings: Settings, weights: Weights, dtype: torch.dtype) -> NequIP:
    _check_size(NequIPSettings.checked(settings), weights)
    return NequIP(**settings, dtype=dtype)


def _check_size(settings: NequIPSettings, weights: Weights) -> None:
    """That a card asks for nothing larger than the weights, before anything of it is made."""
    largest = max((size for x in weights.values() for size in x.shape), default=0)
    hidden = (*settings.radial_hidden, *settings.readout_hidden)
    asked = max(*settings.widths, *hidden, settings.type_width, settings.radial_functions)
    if asked > largest or settings.layers > len(weights):
        raise ValueError(
            f"the card tells of {settings.layers} layers with sizes up to {asked}, but there are "
            f"{len(weights)} weights with sizes up to {largest}"
        )


# -- analytic potentials -----------------------------------------------------------------


def _of_pairs(model: PairPotential) -> Settings:
    switch = {"name": type(model.switch).__name__, **_onset(model.switch)}
    return {"types": list(model.type_names), "cutoff": model.cutoff, "switch": switch}


def _onset(switch: Switch) -> Settings:
    if type(switch) not in SWITCHES.values():
        raise TypeError(
            f"a switch of the kind {type(switch).__name__} cannot be saved; those that can are "
            f"{', '.join(SWITCHES)}"
        )
    return asdict(switch)  # type: ignore[call-overload]


def _pairs(
    make: type[LennardJones | Morse], settings: Settings, weights: Weights, dtype: torch.dtype
) -> LennardJones | Morse:
    words = dict(settings.pop("switch"))
    switch = SWITCHES[words.pop("name")](**words)
    arguments: dict[str, Any] = {**settings, **_tables(weights), "switch": switch}
    return make(**arguments).to(dtype)


def _of_stillinger_weber(model: StillingerWeber) -> Settings:
    return {"types": list(model.type_names), "cutoff": model.cutoff}


def _stillinger_weber(settings: Settings, weights: Weights, dtype: torch.dtype) -> StillingerWeber:
    cutoff = settings.pop("cutoff")
    arguments: dict[str, Any] = {**settings, **_tables(weights)}
    model = StillingerWeber(**arguments).to(dtype)
    if not cutoff >= model.cutoff * (1 - torch.finfo(dtype).eps):
        raise ValueError(f"the weights reach {model.cutoff} Å, but the cutoff is {cutoff} Å")
    model.cutoff = cutoff
    return model


def _tables(weights: Weights) -> dict[str, Numbers]:
    return {name: table.double().numpy() for name, table in weights.items()}


def _of_embedded_atom(model: EmbeddedAtom) -> Settings:
    return {
        "types": list(model.type_names),
        "cutoff": model.cutoff,
        "density_step": model.embedding.spacing,
        "distance_step": model.pair.spacing,
    }


def _embedded_atom(settings: Settings, weights: Weights, dtype: torch.dtype) -> EmbeddedAtom:
    types = tuple(settings.pop("types"))
    steps = {1: settings["density_step"], 2: settings["distance_step"]}
    tables: dict[str, Any] = {}
    for name, each in (("embedding", 1), ("density", 2), ("pair", 2)):
        shape = (len(types),) * each
        rows = weights[f"{name}.coefficients"].double()
        values = Splines.values_of(rows, len(types) ** each, steps[each])
        tables[name] = values.reshape(*shape, -1)
    return EmbeddedAtom(Setfl(types, **settings, **tables)).to(dtype)


ARCHITECTURES: Mapping[str, Architecture] = {
    "NequIP": Architecture(NequIP, _of_nequip, _nequip),
    "LennardJones": Architecture(LennardJones, _of_pairs, partial(_pairs, LennardJones)),
    "Morse": Architecture(Morse, _of_pairs, partial(_pairs, Morse)),
    "StillingerWeber": Architecture(StillingerWeber, _of_stillinger_weber, _stillinger_weber),
    "EmbeddedAtom": Architecture(EmbeddedAtom, _of_embedded_atom, _embedded_atom),
}
"""Name on the card → what is known of the kind."""
