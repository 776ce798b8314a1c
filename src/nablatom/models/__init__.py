"""Models: structures, descriptors or graphs to energies, and with them their derivatives.

Names are loaded when they are first asked for: ``LinearModel`` needs no torch, the graph
models need the ``models`` extra.

``LinearModel``
    Energies linear in a descriptor, with its stored gradients.
``AtomicDataDict``, ``GraphModuleMixin``, ``SequentialGraphNetwork``
    The data that graph modules take and give, and what modules are made with.
``LennardJones``, ``Morse``, ``StillingerWeber``, ``EmbeddedAtom``, ``PairPotential``
    Analytic potentials, and what pair potentials of your own are made with.
``NequIP``, ``NequIPSettings``, ``from_nequip_state``
    Equivariant message passing, its settings, and weights of the nequip package.
``NequIPPackage``, ``MACE``
    Energies of models of these packages.
``save_model``, ``load_model``, ``load_card``
    Models in files.
``ZBL``
    The repulsion of nuclei.
``Smoothstep``, ``Xplor``, ``Shifted``
    How pair potentials end at their cutoff.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablatom.models.embedded_atom import EmbeddedAtom
    from nablatom.models.graph import GraphModuleMixin, SequentialGraphNetwork
    from nablatom.models.lennard_jones import LennardJones
    from nablatom.models.linear import Calculator, LinearModel
    from nablatom.models.mace import MACE
    from nablatom.models.morse import Morse
    from nablatom.models.nequip import NequIP
    from nablatom.models.nequip_package import NequIPPackage
    from nablatom.models.nequip_settings import NequIPSettings
    from nablatom.models.nequip_state import from_nequip_state
    from nablatom.models.pair import PairPotential
    from nablatom.models.saving import load_card, load_model, save_model
    from nablatom.models.setfl import Setfl
    from nablatom.models.stillinger_weber import StillingerWeber
    from nablatom.models.switching import Shifted, Smoothstep, Switch, Xplor
    from nablatom.models.zbl import ZBL
    from nablatom.systems import atomic_data as AtomicDataDict

__all__ = [
    "MACE",
    "ZBL",
    "AtomicDataDict",
    "Calculator",
    "EmbeddedAtom",
    "GraphModuleMixin",
    "LennardJones",
    "LinearModel",
    "Morse",
    "NequIP",
    "NequIPPackage",
    "NequIPSettings",
    "PairPotential",
    "SequentialGraphNetwork",
    "Setfl",
    "Shifted",
    "Smoothstep",
    "StillingerWeber",
    "Switch",
    "Xplor",
    "from_nequip_state",
    "load_card",
    "load_model",
    "save_model",
]

_HOMES = {
    "Calculator": "linear",
    "EmbeddedAtom": "embedded_atom",
    "GraphModuleMixin": "graph",
    "LennardJones": "lennard_jones",
    "LinearModel": "linear",
    "Morse": "morse",
    "MACE": "mace",
    "NequIP": "nequip",
    "NequIPPackage": "nequip_package",
    "NequIPSettings": "nequip_settings",
    "PairPotential": "pair",
    "SequentialGraphNetwork": "graph",
    "Setfl": "setfl",
    "Shifted": "switching",
    "Smoothstep": "switching",
    "StillingerWeber": "stillinger_weber",
    "Switch": "switching",
    "Xplor": "switching",
    "ZBL": "zbl",
    "from_nequip_state": "nequip_state",
    "load_card": "saving",
    "load_model": "saving",
    "save_model": "saving",
}


def __getattr__(name: str) -> Any:
    if name == "AtomicDataDict":
        found = import_module("nablatom.systems.atomic_data")
    elif name in _HOMES:
        found = getattr(import_module(f"nablatom.models.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'nablatom.models' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
