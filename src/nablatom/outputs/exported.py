"""Models with their derivatives ⇄ packages of machine code, which need no source of the model.

The evaluation and its backward pass are traced as one graph of array operations, and compiled
ahead of time (AOTInductor). A package serves single frames of any number of atoms and edges, on
the kind of device and in the precision that it was made for.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nablatom.models import AtomicDataDict
from nablatom.models.edge_table import EDGE_SLOTS_KEY, ROW_CENTERS_KEY, with_edge_table
from nablatom.outputs.compiled import Totals, arranged, totals
from nablatom.outputs.derivatives import point_of, usable
from nablatom.outputs.stress import DerivativeOutput, wanted

__all__ = ["ExportedModel", "export", "load_exported"]

READ: Mapping[str, tuple[int, ...]] = {
    AtomicDataDict.POSITIONS_KEY: (0,),
    AtomicDataDict.CELL_KEY: (),
    AtomicDataDict.ATOM_TYPE_KEY: (0,),
    AtomicDataDict.EDGE_INDEX_KEY: (1,),
    AtomicDataDict.EDGE_CELL_SHIFT_KEY: (0,),
    AtomicDataDict.ELECTRIC_FIELD_KEY: (),
    EDGE_SLOTS_KEY: (0, 1),
    ROW_CENTERS_KEY: (0,),
}
"""The fields that a package may read, and which of their axes have any length."""

WRITTEN = (
    AtomicDataDict.PER_ATOM_ENERGY_KEY,
    AtomicDataDict.TOTAL_ENERGY_KEY,
    AtomicDataDict.CHARGE_KEY,
    AtomicDataDict.DIPOLE_KEY,
)


class ExportedModel:
    """A package in use: energies and derivatives, for inference, see :func:`load_exported`.

    Attributes
    ----------
    cutoff
        Å: the neighbors that it needs.
    type_names
        Element symbols, in the order of ``atom_types``.
    fields
        Which derivatives it gives.
    """

    def __init__(self, path: str) -> None:
        self._package = _opened(path)
        card = json.loads(self._package.get_metadata().get("nablatom", "null"))
        if card is None:
            raise ValueError(f"{path} is no package that nablatom.outputs.export has written")
        self.cutoff: float = card["cutoff"]
        self.type_names = tuple(card["type_names"])
        self.fields = tuple(card["fields"])
        self._read, self._written = card["read"], card["written"]
        self._dtype = getattr(torch, card["dtype"])

    def __call__(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with energies, and with the derivatives that were exported."""
        given = self._checked(data)
        with torch.inference_mode(False), torch.no_grad():
            found = self._package(*(given[key].detach() for key in self._read))
        positions, strain, *values = found
        outputs = data | dict(zip(self._written, values, strict=True))
        outputs = {key: x for key, x in outputs.items() if key not in self.fields}
        return outputs | wanted(Totals(outputs, data, positions, strain), self.fields)

    def _checked(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        dtype = data[AtomicDataDict.POSITIONS_KEY].dtype
        if dtype != self._dtype:
            raise ValueError(f"the positions are {dtype}, but the package is for {self._dtype}")
        given = _single_frame(data, self.cutoff, self.type_names)
        if EDGE_SLOTS_KEY in self._read:
            given = with_edge_table(given)
        missing = [key for key in self._read if key not in given]
        if missing:
            raise KeyError(f"the data have no {', '.join(missing)}, which the package reads")
        return given


def export(
    output: DerivativeOutput, example: AtomicDataDict.Type, path: str | PathLike[str]
) -> None:
    """Write a model with its forces or stress as a package for inference.

    It takes a C++ compiler, and from half a minute to several. The package gives energies,
    charges and dipoles if the model does, and the derivatives that the module gives. The module
    itself is left as it is.

    Parameters
    ----------
    output
        A ``StressOutput`` or ``ForceOutput``.
    example
        One frame with neighbors: two atoms or more, of the precision and on the device that
        the package is for. Data without some field (such as ``cell``) make a package that does
        not read it.
    path
        Ends in ``.pt2``.

    Raises
    ------
    TypeError
        If the module is no such output.
    ValueError
        If the example is a batch, or the name of the file ends in something else.
    """
    if not isinstance(output, DerivativeOutput):
        raise TypeError(
            f"expected a StressOutput or ForceOutput to export, got {type(output).__name__}; wrap "
            "the model in one of them"
        )
    if not fspath(path).endswith(".pt2"):
        raise ValueError(f"the name of a package ends in .pt2, got {fspath(path)!r}")
    found = traced(output, example)
    card = {
        "cutoff": output.cutoff,
        "type_names": list(output.type_names),
        "fields": list(output.fields),
        "read": found.read,
        "written": found.written,
        "dtype": str(example[AtomicDataDict.POSITIONS_KEY].dtype).removeprefix("torch."),
    }
    options: dict[str, Any] = {"aot_inductor.metadata": {"nablatom": json.dumps(card)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of itself
        torch._inductor.aoti_compile_and_package(
            found.program, package_path=fspath(path), inductor_configs=options
        )


def load_exported(path: str | PathLike[str]) -> ExportedModel:
    """A package that :func:`export` wrote, ready to be called with atomic data.

    A package is machine code: load only those that you trust.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the package was not written by :func:`export`.
    """
    return ExportedModel(fspath(path))


def _opened(path: str) -> Any:
    if not Path(path).exists():
        raise FileNotFoundError(f"no package {path!r}: there is no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of itself
        try:
            return torch._inductor.aoti_load_package(path)
        except RuntimeError as error:
            raise ValueError(f"{path} is no package of machine code: {error}") from error


class Traced(NamedTuple):
    """A graph of array operations, for any number of atoms and edges.

    Attributes
    ----------
    program
        Takes the fields that are read, gives the derivatives by positions and strain, and then
        the fields that are written.
    read, written
        Names of fields, in this order.
    """

    program: torch.export.ExportedProgram
    read: list[str]
    written: list[str]


def traced(output: DerivativeOutput, example: AtomicDataDict.Type) -> Traced:
    """Energies and derivatives of a model as one graph, which calls no autograd."""
    from torch.fx.experimental.proxy_tensor import make_fx  # loads a computer algebra system

    given = arranged(output, _single_frame(example, output.cutoff, output.type_names))
    model = deepcopy(output).eval().requires_grad_(False).func
    read = [key for key in READ if key in given]
    written = [key for key in WRITTEN if key in model(dict(given))]

    def evaluated(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        point = point_of(dict(zip(read, values, strict=True)))
        outputs, positions, strain = totals(model, point, AtomicDataDict.TOTAL_ENERGY_KEY)
        return positions, strain, *(outputs[key] for key in written)

    values = tuple(given[key].detach() for key in read)
    shapes = tuple(dict.fromkeys(READ[key], torch.export.Dim.DYNAMIC) for key in read)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of itself
        # Parameters of the model are constants of the graph, and not of the kind that is traced.
        graph = make_fx(evaluated, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*values)
        program = torch.export.export(graph, values, dynamic_shapes=shapes, strict=False)
    return Traced(program, read, written)


def _single_frame(
    data: AtomicDataDict.Type, cutoff: float, types: Sequence[str]
) -> AtomicDataDict.Type:
    """The data with types, checked; without what says that a single frame is one."""
    if AtomicDataDict.num_frames(data) != 1:
        raise ValueError(
            f"a package is for single frames, got a batch of {AtomicDataDict.num_frames(data)}; "
            "take them apart with AtomicDataDict.unbatched(data)"
        )
    single = (AtomicDataDict.BATCH_KEY, AtomicDataDict.NUM_NODES_KEY)
    kept = {key: x for key, x in data.items() if key not in single}
    return usable(AtomicDataDict.prepared(kept, cutoff=cutoff, types=types))
