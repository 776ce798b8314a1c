"""Models that a path on the command line stands for."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import yaml

from nablatom.models import LinearModel

if TYPE_CHECKING:
    import torch

__all__ = ["AnyModel", "open_model"]

AnyModel: TypeAlias = "LinearModel | torch.nn.Module"
YAML = (".yaml", ".yml")
PICKLES = (".nequip.zip", ".ckpt", ".model")


def open_model(path: Path, *, trust: bool = False) -> AnyModel:
    """The model in a file or folder, by its suffix, ready to be evaluated.

    ``.mts`` is a linear model that ``nablatom fit`` wrote, ``.yaml`` names an analytic potential
    and its parameters, ``.nequip.zip`` and ``.model`` are models of nequip and of MACE, and
    anything else is a file or folder of trained weights with their card.

    Parameters
    ----------
    trust
        Whether to open files that can run any code: those of nequip and of MACE.

    Raises
    ------
    FileNotFoundError
        There is nothing at this path.
    ValueError
        What is there is no model; the message says why.
    """
    if not path.exists():
        raise FileNotFoundError(f"no model {str(path)!r}: there is no such file or folder")
    if path.suffix == ".mts":
        return LinearModel.load(path)
    if path.suffix in YAML:
        return _potential(path)
    if path.name.endswith(PICKLES):
        return _foreign(path, trust)
    from nablatom.models import load_model

    if not (path / "card.json").is_file() and path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is no model: expected a folder that save_model wrote, or a file ending in "
            f".safetensors, .mts, {', '.join((*YAML, *PICKLES))}; the model comes first, then "
            "the structures"
        )
    return load_model(path)


def _foreign(path: Path, trust: bool) -> "torch.nn.Module":
    if not trust:
        raise ValueError(
            f"{path} is a pickle, which can run any code when it is opened; if you trust where it "
            "comes from, add --trust"
        )
    from nablatom.models import MACE, NequIPPackage

    return (MACE if path.suffix == ".model" else NequIPPackage).load(path).eval()


def _potential(path: Path) -> "torch.nn.Module":
    settings = _settings(path)
    known = _potentials(path.parent)
    name = settings.pop("potential", None)
    if name not in known:
        raise ValueError(
            f"{path} should name a 'potential', one of {', '.join(known)}; got {name!r}"
        )
    make = known[str(name)]
    try:
        signature(make).bind(**settings)
    except TypeError as error:
        raise ValueError(
            f"{path}: {error}; {name} takes {', '.join(signature(make).parameters)}"
        ) from None
    try:
        return make(**settings).eval()
    except ValueError as error:
        error.add_note(f"in {path}")
        raise


def _settings(path: Path) -> dict[str, object]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} should hold settings as 'name: value', got {found!r}")
    return found


def _potentials(folder: Path) -> Mapping[str, Callable[..., "torch.nn.Module"]]:
    """What a file may name; a table that it names stands beside it."""
    from nablatom.models import EmbeddedAtom, LennardJones, Morse, StillingerWeber

    def embedded_atom(file: str) -> EmbeddedAtom:
        return EmbeddedAtom.read(folder / file)

    return {
        "lennard-jones": LennardJones,
        "morse": Morse,
        "stillinger-weber": StillingerWeber,
        "stillinger-weber-silicon": StillingerWeber.silicon,
        "embedded-atom": embedded_atom,
    }
