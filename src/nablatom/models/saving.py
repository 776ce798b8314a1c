"""Models in files: weights in safetensors, a card in JSON, and nothing that runs code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nablatom.io.atomic import write
from nablatom.models.architectures import ARCHITECTURES, Storable
from nablatom.models.card import Card, card_of, dtype_of

__all__ = ["load_card", "load_model", "save_model"]

SUFFIX = ".safetensors"
CARD, WEIGHTS = "card.json", "weights.safetensors"


def save_model(
    model: Storable, path: str | Path, *, training: Mapping[str, Any] | None = None
) -> None:
    """Write a model to one file, or to a folder with its card to be read beside it.

    Files are written whole or not at all; old ones of the same name are replaced.

    Parameters
    ----------
    model
        ``NequIP``, or one of the analytic potentials.
    path
        One file if it ends in ``.safetensors``: the card is in its metadata. Otherwise a folder
        of ``card.json`` and ``weights.safetensors``.
    training
        How it was trained (data, losses, errors …), in what JSON can hold.

    Raises
    ------
    TypeError
        The model is of another kind, or the training is nothing for JSON.
    ValueError
        Its weights are neither in single nor in double precision.

    Examples
    --------
    >>> from nablatom.models import NequIP
    >>> save_model(NequIP(["Si"], 4.0, features=4), "si", training={"data": "60 frames"})
    >>> load_card("si").training
    {'data': '60 frames'}
    >>> load_model("si").type_names
    ('Si',)
    """
    from safetensors.torch import save

    json.dumps(training)  # raises a TypeError that names what JSON has no place for
    card, path = card_of(model, training or {}), Path(path)
    dtype_of(card)  # raises what would be raised on loading
    tensors = {name: x.detach().contiguous() for name, x in model.state_dict().items()}
    if path.suffix == SUFFIX:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [save(tensors, metadata={"card": card.model_dump_json(exclude_none=True)})])
        return
    path.mkdir(parents=True, exist_ok=True)
    weights = save(tensors)
    card = card.model_copy(update={"sha256": hashlib.sha256(weights).hexdigest()})
    write(path / WEIGHTS, [weights])
    write(path / CARD, [card.model_dump_json(indent=2).encode()])


def load_card(path: str | Path) -> Card:
    """The card of a saved model; its weights are not read.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        There is no card, or it contradicts itself: says in what.
    """
    path = Path(path)
    if path.is_dir():
        return Card.read((path / CARD).read_bytes(), path / CARD)
    text = _opened(path).metadata() or {}
    if "card" not in text:
        raise ValueError(
            f"{path} holds weights, but no card of a model; expected a file that save_model wrote"
        )
    return Card.read(text["card"], path)


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Storable:
    """The model in a file or folder that `save_model` wrote, in evaluation mode.

    Weights have the precision they were saved in.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        The card is missing, damaged or of an unknown architecture, or the weights are not
        those it describes: says what does not fit.
    """
    path = Path(path)
    card = load_card(path)
    if card.architecture not in ARCHITECTURES:
        raise ValueError(
            f"{path} holds a {card.architecture}; known are {', '.join(ARCHITECTURES)}"
        )
    try:
        tensors = _tensors(path, card)
        model = _built(card, tensors)
    except ValueError as error:
        error.add_note(f"in {path}")
        raise
    return model.to(device).eval()


def _built(card: Card, tensors: dict[str, torch.Tensor]) -> Storable:
    """The model of a card, with these weights."""
    dtype, build = dtype_of(card), ARCHITECTURES[card.architecture].build
    try:
        model = build(dict(card.settings), tensors, dtype)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"settings and weights make no {card.architecture}: {type(error).__name__}: {error}"
        ) from error
    for name, own in model.state_dict().items():
        found = tensors.get(name)
        if found is None:
            raise ValueError(f"the weight {name!r} is missing")
        if found.shape != own.shape or found.dtype != own.dtype:
            raise ValueError(
                f"the weight {name!r} is {_words(found)}; the settings of the card ask for "
                f"{_words(own)}"
            )
        if not found.isfinite().all():
            raise ValueError(f"the weight {name!r} is not finite")
    left = tensors.keys() - model.state_dict().keys()
    if left:
        raise ValueError(f"no place for the weights {', '.join(sorted(left))}")
    model.load_state_dict(tensors)
    return model


def _tensors(path: Path, card: Card) -> dict[str, torch.Tensor]:
    """All weights; of a folder only if they are those that the card was written for."""
    from safetensors.torch import load

    if not path.is_dir():
        file = _opened(path)
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    content = (path / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ValueError(f"{WEIGHTS} is not the file that {CARD} was written for")
    return load(content)


def _opened(path: Path) -> Any:
    """A file of tensors; a missing one keeps its own error."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise ValueError(f"{path} is no .safetensors file: {error}") from error


def _words(x: torch.Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}"
