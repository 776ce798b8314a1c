"""Forces, stress and virial of an energy model.

``F_j = -dE/dr_j``, ``stress = sym(dE/dstrain) / |V|`` (positive under tension) and
``virial = -sym(dE/dstrain)``, all from one backward pass (:mod:`nablatom.outputs.derivatives`).

``|V|`` is the volume of the cell, whichever hand its vectors make. A frame that is periodic
along no direction, or whose cell has no volume, has a virial and no stress: the field is absent
if that is so for all frames, and NaN for these frames if others have one. The vacuum of a slab
counts as volume: its stress times its volume does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.compiled import Compiled, Totals, compiled_derivatives, totals
from nablatom.outputs.derivatives import Derivatives, Model, pair_derivatives
from nablatom.outputs.gradient import check_scalar, outputs_of

__all__ = [
    "ForceOutput",
    "ForceStressOutput",
    "StressOutput",
    "forces",
    "forces_and_stress",
    "stress_of",
]

FIELDS = (AtomicDataDict.FORCE_KEY, AtomicDataDict.STRESS_KEY, AtomicDataDict.VIRIAL_KEY)
TENSOR = "0e + 1e + 2e"  # of any 3×3 tensor; of a symmetric one, the part 1e is zero
_IRREPS = dict(zip(FIELDS, ("1o", TENSOR, TENSOR), strict=True))


def forces(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """``-dE/dr``, (atoms, 3), energy/length.

    Parameters
    ----------
    create_graph
        Whether the forces are to be differentiable; by default if the model is being trained or
        an input requires gradients.

    Raises
    ------
    KeyError, RuntimeError
        If the model returns no ``total_energy``, or one that does not depend on positions.

    Examples
    --------
    >>> from ase import Atoms
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]]), cutoff=8.5)
    >>> forces(argon, data)[:, 2] * 1e3  # meV/Å: they attract each other
    tensor([ 5.78..., -5.78...], dtype=torch.float64)
    """
    return -pair_derivatives(model, data, create_graph=create_graph).positions


def forces_and_stress(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Forces (atoms, 3) and stress (frames, 3, 3), from one backward pass.

    Parameters
    ----------
    create_graph
        As in :func:`forces`.

    Returns
    -------
    Forces, energy/length, and the stress, energy/length^3, positive under tension; NaN for
    frames that have none, and None if no frame has one.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.4), cutoff=argon.cutoff)
    >>> _, stress = forces_and_stress(argon, data)
    >>> bool(stress[0].trace() > 0)  # it has been pulled apart, and is under tension
    True

    References
    ----------
    Knuth et al., Comput. Phys. Commun. 190, 33 (2015).
    """
    derivatives = pair_derivatives(model, data, create_graph=create_graph)
    return -derivatives.positions, stress_of(derivatives.strain, derivatives.data)


def stress_of(strain_derivative: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor | None:
    """``sym(dE/dstrain) / |V|`` for every frame; None if there is no volume to divide by.

    Parameters
    ----------
    strain_derivative : (frames, 3, 3), energy
    data
        With ``cell``, and with ``pbc`` if that is known.

    Returns
    -------
    (frames, 3, 3), energy/length^3; NaN for frames without periodicity or volume.

    Examples
    --------
    >>> import torch
    >>> stress_of(torch.eye(3)[None], {"cell": -2.0 * torch.eye(3)})[0, 0]
    tensor([0.1250, 0.0000, 0.0000])
    """
    if AtomicDataDict.CELL_KEY not in data:
        return None
    volume = volumes(data, len(strain_derivative))
    filled = (volume > 0)[:, None, None]
    if not filled.any():
        return None
    # Masked before the division: the slope of 1/V at no volume would reach every parameter.
    divisor = torch.where(filled, volume[:, None, None], 1.0)
    return torch.where(filled, symmetric(strain_derivative) / divisor, torch.nan)


def symmetric(tensor: torch.Tensor) -> torch.Tensor:
    """The symmetric part of matrices, (..., 3, 3)."""
    return 0.5 * (tensor + tensor.transpose(-1, -2))


def volumes(data: AtomicDataDict.Type, frames: int) -> torch.Tensor:
    """The volume of the cell of each frame, (frames,); zero for frames that are not periodic."""
    # The product has finite derivatives of all orders at a cell of zeros; a determinant has not.
    a, b, c = data[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3).expand(frames, 3, 3).unbind(1)
    volume = (torch.linalg.cross(a, b) * c).sum(-1).abs()
    if AtomicDataDict.PBC_KEY not in data:
        return volume
    periodic = data[AtomicDataDict.PBC_KEY].reshape(-1, 3).expand(frames, 3).any(-1)
    return torch.where(periodic, volume, 0.0)


class DerivativeOutput(GraphModuleMixin, torch.nn.Module):
    """A model with some of ``forces``, ``stress`` and ``virial``: what all outputs here share."""

    def __init__(
        self,
        func: GraphModuleMixin,
        fields: Sequence[str],
        create_graph: bool | None,
        compile: bool,
    ) -> None:
        super().__init__()
        given = outputs_of(func)
        check_scalar(given, AtomicDataDict.TOTAL_ENERGY_KEY)
        self.func, self.fields, self.create_graph = func, tuple(fields), create_graph
        self.compiled = Compiled(totals) if compile else None
        irreps = {field: _IRREPS[field] for field in fields}
        self._init_irreps(func.irreps_in, irreps_out={**given, **irreps})
        self.cutoff, self.hops, self.type_names = func.cutoff, func.hops, func.type_names

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``forces`` (atoms, 3), ``stress`` and ``virial``.

        Stress and virial are (frames, 3, 3); what is there is what the class says.
        """
        if not self.fields:
            return self.func(dict(data))
        derivatives = self._derivatives(data)
        # Labels that came with the data are no results.
        outputs = {key: x for key, x in derivatives.outputs.items() if key not in self.fields}
        return outputs | wanted(derivatives, self.fields)

    def _derivatives(self, data: AtomicDataDict.Type) -> Derivatives | Totals:
        if self.compiled is None:
            return pair_derivatives(self.func, data, create_graph=self.create_graph)
        return compiled_derivatives(self.compiled, self.func, data, create_graph=self.create_graph)


class StressOutput(DerivativeOutput):
    """A model that gives forces, stress and virial too, see :func:`forces_and_stress`.

    Parameters
    ----------
    func
        The energy model to wrap.
    do_forces
        Whether to give forces as well.
    create_graph
        Whether forces and stress are to be differentiable; by default if the wrapped model is
        being trained, or an input requires gradients. Otherwise nothing that is returned holds
        a graph.
    compile
        Whether model and derivatives are compiled together, when they are first called: once
        for evaluation and once for training, for all numbers of atoms.

    Raises
    ------
    TypeError
        If what is wrapped is no graph module.
    ValueError
        If it gives no ``total_energy``, or one that rotates.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.4), cutoff=argon.cutoff)
    >>> outputs = StressOutput(argon)(data)
    >>> outputs["forces"].shape, outputs["stress"].shape, outputs["virial"].shape
    (torch.Size([1, 3]), torch.Size([1, 3, 3]), torch.Size([1, 3, 3]))

    References
    ----------
    Knuth et al., Comput. Phys. Commun. 190, 33 (2015).
    """

    def __init__(
        self,
        func: GraphModuleMixin,
        do_forces: bool = True,
        *,
        create_graph: bool | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(func, FIELDS if do_forces else FIELDS[1:], create_graph, compile)


class ForceStressOutput(DerivativeOutput):
    """:class:`StressOutput` under the name that NequIP gave it, with a switch.

    Parameters
    ----------
    func
        The energy model to wrap.
    do_derivatives
        If not, the outputs are those of the model.
    do_forces, create_graph, compile
        As in :class:`StressOutput`.
    """

    def __init__(
        self,
        func: GraphModuleMixin,
        do_derivatives: bool = True,
        do_forces: bool = True,
        *,
        create_graph: bool | None = None,
        compile: bool = False,
    ) -> None:
        fields = (FIELDS if do_forces else FIELDS[1:]) if do_derivatives else ()
        super().__init__(func, fields, create_graph, compile)


class ForceOutput(DerivativeOutput):
    """A model that gives forces too, see :func:`forces`.

    Parameters
    ----------
    func
        The energy model to wrap.
    create_graph, compile
        As in :class:`StressOutput`.
    """

    def __init__(
        self,
        func: GraphModuleMixin,
        *,
        create_graph: bool | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(func, FIELDS[:1], create_graph, compile)


def wanted(derivatives: Derivatives | Totals, fields: Sequence[str]) -> AtomicDataDict.Type:
    """Forces, stress and virial, as far as they are among the fields and there are any."""
    found = {}
    if AtomicDataDict.FORCE_KEY in fields:
        found[AtomicDataDict.FORCE_KEY] = -derivatives.positions
    if AtomicDataDict.STRESS_KEY in fields:
        strain = derivatives.strain
        found[AtomicDataDict.VIRIAL_KEY] = -symmetric(strain)
        stress = stress_of(strain, derivatives.data)
        if stress is not None:
            found[AtomicDataDict.STRESS_KEY] = stress
    return found
