"""Forces, stress and virial of an energy model.

``F_j = -dE/dr_j``, ``stress = sym(dE/dstrain) / |V|`` (positive under tension) and
``virial = -sym(dE/dstrain)``, all from one backward pass (:mod:`nablatom.outputs.derivatives`).

``|V|`` is the volume of the cell, whichever hand its vectors make. A frame that is periodic
along no direction, or whose cell has no volume, has a virial and no stress: the field is absent
if that is so for all frames, and NaN for these frames if others have one. The vacuum of a slab
counts as volume: its stress times its volume does not depend on it.
"""

from __future__ import annotations

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
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

VECTOR = "1o"
TENSOR = "0e + 1e + 2e"
"""What a 3×3 tensor is made of; of a symmetric one, the part 1e is zero."""

_DERIVED = (AtomicDataDict.FORCE_KEY, AtomicDataDict.STRESS_KEY, AtomicDataDict.VIRIAL_KEY)


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
    volume = _volumes(data, len(strain_derivative))
    filled = (volume > 0)[:, None, None]
    if not filled.any():
        return None
    # Masked before the division: the slope of 1/V at no volume would reach every parameter.
    divisor = torch.where(filled, volume[:, None, None], 1.0)
    return torch.where(filled, symmetric(strain_derivative) / divisor, torch.nan)


def symmetric(tensor: torch.Tensor) -> torch.Tensor:
    """The symmetric part of matrices, (..., 3, 3)."""
    return 0.5 * (tensor + tensor.transpose(-1, -2))


def _volumes(data: AtomicDataDict.Type, frames: int) -> torch.Tensor:
    """(frames,); zero for frames that are not periodic."""
    # The product has finite derivatives of all orders at a cell of zeros; a determinant has not.
    a, b, c = data[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3).expand(frames, 3, 3).unbind(1)
    volume = (torch.linalg.cross(a, b) * c).sum(-1).abs()
    if AtomicDataDict.PBC_KEY not in data:
        return volume
    periodic = data[AtomicDataDict.PBC_KEY].reshape(-1, 3).expand(frames, 3).any(-1)
    return torch.where(periodic, volume, 0.0)


class StressOutput(GraphModuleMixin, torch.nn.Module):
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
        self, func: GraphModuleMixin, do_forces: bool = True, *, create_graph: bool | None = None
    ) -> None:
        super().__init__()
        self.func, self.do_forces, self.create_graph = func, do_forces, create_graph
        _init_wrapper(self, func, forces=do_forces, stress=True)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``virial``, ``stress`` and, if asked for, ``forces``.

        Forces (atoms, 3), stress and virial (frames, 3, 3). Without ``forces``, it is the model
        that says whether there are any.
        """
        derivatives = pair_derivatives(self.func, data, create_graph=self.create_graph)
        return _with_derivatives(derivatives, forces=self.do_forces)


class ForceStressOutput(GraphModuleMixin, torch.nn.Module):
    """:class:`StressOutput` under the name that NequIP gave it, with a switch.

    Parameters
    ----------
    func
        The energy model to wrap.
    do_derivatives
        If not, the model is left as it is.
    do_forces, create_graph
        As in :class:`StressOutput`.
    """

    def __init__(
        self,
        func: GraphModuleMixin,
        do_derivatives: bool = True,
        do_forces: bool = True,
        *,
        create_graph: bool | None = None,
    ) -> None:
        super().__init__()
        self.func, self.do_derivatives, self.do_forces = func, do_derivatives, do_forces
        self.create_graph = create_graph
        _init_wrapper(self, func, forces=do_derivatives and do_forces, stress=do_derivatives)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """As :class:`StressOutput`, or without derivatives the outputs of the model."""
        if not self.do_derivatives:
            return self.func(dict(data))
        derivatives = pair_derivatives(self.func, data, create_graph=self.create_graph)
        return _with_derivatives(derivatives, forces=self.do_forces)


class ForceOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives forces too, see :func:`forces`.

    Parameters
    ----------
    func
        The energy model to wrap.
    create_graph
        As in :class:`StressOutput`.
    """

    def __init__(self, func: GraphModuleMixin, *, create_graph: bool | None = None) -> None:
        super().__init__()
        self.func, self.create_graph = func, create_graph
        _init_wrapper(self, func, forces=True, stress=False)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``forces``, (atoms, 3)."""
        derivatives = pair_derivatives(self.func, data, create_graph=self.create_graph)
        return derivatives.outputs | {AtomicDataDict.FORCE_KEY: -derivatives.positions}


def _with_derivatives(derivatives: Derivatives, *, forces: bool) -> AtomicDataDict.Type:
    """The outputs of the model with virial, stress and, if asked for, forces."""
    strain = derivatives.strain
    stress = stress_of(strain, derivatives.data)
    # Labels that came with the data are no results.
    outputs = {key: x for key, x in derivatives.outputs.items() if key not in _DERIVED}
    outputs[AtomicDataDict.VIRIAL_KEY] = -symmetric(strain)
    if stress is not None:
        outputs[AtomicDataDict.STRESS_KEY] = stress
    if forces:
        outputs[AtomicDataDict.FORCE_KEY] = -derivatives.positions
    return outputs


def _init_wrapper(
    wrapper: GraphModuleMixin, func: GraphModuleMixin, *, forces: bool, stress: bool
) -> None:
    """What the wrapper gives, and what it passes on of the model."""
    given = outputs_of(func)
    check_scalar(given, AtomicDataDict.TOTAL_ENERGY_KEY)
    new = {AtomicDataDict.FORCE_KEY: VECTOR} if forces else {}
    if stress:
        new |= {AtomicDataDict.STRESS_KEY: TENSOR, AtomicDataDict.VIRIAL_KEY: TENSOR}
    wrapper._init_irreps(func.irreps_in, irreps_out={**given, **new})
    wrapper.cutoff, wrapper.hops, wrapper.type_names = func.cutoff, func.hops, func.type_names
