"""Energies of structures and their derivatives, as the tensors that are written to files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ase
import numpy as np

from nablatom.block import TensorBlock
from nablatom.cli.files import TENSORS, write_tensor
from nablatom.cli.models import AnyModel
from nablatom.cli.terminal import Terminal
from nablatom.descriptors.assembly import renumbered
from nablatom.labels import Labels
from nablatom.models import LinearModel
from nablatom.operations import join, remove_gradients, sum_over_samples
from nablatom.systems import label_structures, write_structures
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    import torch

    from nablatom.systems.fields import Type

__all__ = ["Found", "Wanted", "check_output", "derivatives_of", "write_derivatives"]

Found = Mapping[str, TensorMap]
"""``energies`` of frames; and as asked for, of ``atoms``, the ``hessian``, the ``heat-flux``."""

FILES = {
    "energies": "energies (eV)",
    "atoms": "energies of atoms (eV)",
    "hessian": "forces (eV/Å)",
    "heat-flux": "potential and convective heat flux (eV·Å per ASE's unit of time)",
}
GRADIENTS = {
    "energies": {"positions": "minus the forces (eV/Å)", "strain": "volume × stress (eV)"},
    "atoms": {"positions": "minus partial forces (eV/Å)", "strain": "minus virials (eV)"},
    "hessian": {"positions": "minus the Hessian (eV/Å²)"},
}
VIRIAL, FLUX = "atomic_virial", "heat_flux"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be computed besides energies and forces."""

    stress: bool
    partial: bool
    atomic_virial: bool
    hessian: bool
    heat_flux: bool

    @property
    def of_frames(self) -> list[str]:
        """Gradients of the energies of frames."""
        return ["positions", "strain"] if self.stress else ["positions"]

    @property
    def of_atoms(self) -> list[str]:
        """Gradients of the energies of atoms."""
        return ["positions"] * self.partial + ["strain"] * self.atomic_virial


def check_output(path: Path | None, wanted: Wanted) -> None:
    """Refuse a file that has no place for what is wanted, before anything is computed."""
    if path is None:
        return
    if path.suffix not in (*TENSORS, ".extxyz"):
        raise ValueError(
            f"expected a file ending in {', '.join(TENSORS)} or .extxyz, got {path.name!r}"
        )
    if path.suffix == ".extxyz" and (wanted.partial or wanted.hessian):
        raise ValueError(
            f"{path.name} has a place for numbers of structures and atoms, not of pairs of atoms; "
            "write partial forces and Hessians to a .mts file"
        )


def derivatives_of(
    model: AnyModel, structures: Sequence[ase.Atoms], wanted: Wanted, terminal: Terminal
) -> dict[str, TensorMap]:
    """All that is wanted of all structures, in NumPy arrays.

    Raises
    ------
    ValueError
        The model cannot give something, or a structure lacks velocities: names the frame.
    """
    _check_frames(model, structures, wanted)
    one = _linear if isinstance(model, LinearModel) else _differentiated
    parts: dict[str, list[TensorMap]] = {}
    for index, structure in terminal.track(list(enumerate(structures)), name="forces"):
        try:
            found = one(model, structure, wanted)  # type: ignore[arg-type]
        except (ValueError, KeyError) as error:
            error.add_note(f"in frame {index}")
            raise
        for name, tensor in found.items():
            moved = renumbered(tensor.to(arrays="numpy"), index)
            parts.setdefault(name, []).append(moved)
    return {k: join(each, "samples") if len(each) > 1 else each[0] for k, each in parts.items()}


def _check_frames(model: AnyModel, structures: Sequence[ase.Atoms], wanted: Wanted) -> None:
    """Refuse what can be told before anything is computed."""
    resting = [i for i, frame in enumerate(structures) if not frame.has("momenta")]
    if wanted.heat_flux and resting:
        raise ValueError(
            f"frame {resting[0]}: no velocities, of which the heat flux is made; expected a column "
            "of velocities or momenta, as ASE writes it"
        )
    if not isinstance(model, LinearModel):
        from nablatom.models import AtomicDataDict

        bare = [ase.Atoms(frame.numbers, frame.positions) for frame in structures]
        AtomicDataDict.from_ase(bare, types=tuple(model.type_names))  # type: ignore[arg-type]


def write_derivatives(
    path: Path, found: Found, structures: Sequence[ase.Atoms], terminal: Terminal
) -> list[Path]:
    """Write one file for each tensor, or all that fits one file of structures."""
    if path.suffix == ".extxyz":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_structures(path, _labelled(structures, found))
        terminal.file(path, "energies (eV), forces (eV/Å) and what else was computed")
        return [path]
    paths = []
    for name, tensor in found.items():
        place = path if name == "energies" else path.with_suffix(f".{name}{path.suffix}")
        write_tensor(place, tensor)
        terminal.file(place, _told(name, tensor))
        paths.append(place)
    return paths


def _told(name: str, tensor: TensorMap) -> str:
    """What is in a file."""
    gradients = [GRADIENTS[name][each] for each in tensor.block().gradients_list()]
    return FILES[name] + (f"; gradients: {', '.join(gradients)}" if gradients else "")


def _linear(model: LinearModel, structure: ase.Atoms, wanted: Wanted) -> dict[str, TensorMap]:
    """What stored gradients hold: everything but second derivatives and velocities."""
    if wanted.hessian or wanted.heat_flux:
        raise ValueError(
            "a model of stored gradients has neither Hessian nor heat flux; leave out --hessian "
            "and --heat-flux"
        )
    names = list(dict.fromkeys([*wanted.of_frames, *wanted.of_atoms]))
    atoms = model.predict(model.calculator([structure], gradients=names))
    frames = sum_over_samples(atoms, "atom")
    found = {"energies": _with_only(frames, wanted.of_frames)}
    return found | ({"atoms": _with_only(atoms, wanted.of_atoms)} if wanted.of_atoms else {})


def _with_only(tensor: TensorMap, names: Sequence[str]) -> TensorMap:
    others = [name for name in tensor.block().gradients_list() if name not in names]
    return remove_gradients(tensor, others) if others else tensor


def _differentiated(
    model: "torch.nn.Module", structure: ase.Atoms, wanted: Wanted
) -> dict[str, TensorMap]:
    """What derivatives of a torch model are."""
    from nablatom.models import AtomicDataDict
    from nablatom.outputs import atom_energies, frame_energies
    from nablatom.outputs.sparse_hessian import sparse_hessian

    cutoff, types = float(model.cutoff), tuple(model.type_names)  # type: ignore[arg-type]
    data = AtomicDataDict.from_ase(structure, cutoff=cutoff, types=types)
    found = {"energies": frame_energies(model, data, gradients=wanted.of_frames)}
    if wanted.partial:
        found["atoms"] = atom_energies(model, data, gradients=wanted.of_atoms)
    elif wanted.atomic_virial:
        found["atoms"] = _virials(model, data)
    if wanted.hessian:
        found["hessian"] = sparse_hessian(model, data)
    if wanted.heat_flux:
        found["heat-flux"] = _heat_flux(model, data, structure)
    return found


def _virials(model: "torch.nn.Module", data: "Type") -> TensorMap:
    from nablatom.outputs import AtomicVirialOutput, atoms_to_tensor

    return atoms_to_tensor(AtomicVirialOutput(model)(data))


def _heat_flux(model: "torch.nn.Module", data: "Type", structure: ase.Atoms) -> TensorMap:
    import torch

    from nablatom.outputs import convective_heat_flux, heat_flux

    velocities = torch.tensor(structure.get_velocities())
    masses = torch.tensor(structure.get_masses())
    with torch.no_grad():
        energies = model(data)
    parts = [
        heat_flux(model, data, velocities),
        convective_heat_flux(energies, velocities, masses=masses),
    ]
    kinds = Labels("convective", np.arange(2, dtype=np.int32)[:, None])
    values = torch.stack(parts, -1).detach()
    block = TensorBlock(values, Labels.range("system", 1), [Labels.range("xyz", 3)], kinds)
    return TensorMap(Labels.single(), [block])


def _labelled(structures: Sequence[ase.Atoms], found: Found) -> list[ase.Atoms]:
    """Structures with energies, forces and stress, virials of atoms and heat flux."""
    labelled = label_structures(structures, found["energies"])
    if "atoms" in found:
        virials = -found["atoms"].block().gradient("strain").values
        ends = np.cumsum([len(structure) for structure in structures])[:-1]
        for structure, own in zip(labelled, np.split(virials, ends), strict=True):
            structure.arrays[VIRIAL] = own.reshape(-1, 9)
    if "heat-flux" in found:
        fluxes = found["heat-flux"].block().values.sum(-1)
        for structure, flux in zip(labelled, fluxes, strict=True):
            structure.info[FLUX] = flux
    return labelled
