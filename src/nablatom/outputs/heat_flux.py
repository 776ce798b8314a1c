"""The heat flux: how fast energy moves, without its Jacobian and without images of atoms.

The potential part is ``J = sum_ij (r_i - r_j) (dE_i/dr_j · v_j)`` over the atoms ``i`` of a
frame and all atoms ``j``, periodic images as atoms of their own (the *unfolded* system).

It takes one evaluation and two backward passes in the periodic system itself
(:mod:`nablatom.outputs.twisted_flux`), or, for a model in which that cannot be done, in the
unfolded one.

The flux of energy through a solid or liquid also has a convective part, ``sum_i E_i v_i``.

References: Langer, Knoop, Carbogno, Scheffler, Rupp, PRB 108, L100302 (2023), for the
flux of models with message passing in the unfolded system.
"""

from __future__ import annotations

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import Derivatives, Model, detached, pair_derivatives, usable
from nablatom.outputs.passes import backward_pass
from nablatom.outputs.planning import hops_of
from nablatom.outputs.twisted_flux import twisted_flux
from nablatom.outputs.unfolding import Unfolded, unfolded
from nablatom.outputs.wrapper import adopt, wants_graph

__all__ = [
    "HeatFluxOutput",
    "convective_heat_flux",
    "heat_flux",
    "unfolded_heat_flux",
]


def heat_flux(
    model: Model,
    data: AtomicDataDict.Type,
    velocities: torch.Tensor,
    *,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """The potential part of the heat flux, ``sum_ij (r_i - r_j) (dE_i/dr_j · v_j)``, (frames, 3).

    ``i`` is an atom of the frame, ``j`` any atom or image. One backward pass for a model
    whose edges each enter the energy of their center only (``hops`` is 1), two for others,
    whatever the number of atoms, the depth and the periodicity; where a model keeps its
    steps to itself, the cost of the unfolded system.

    Parameters
    ----------
    model
        Gives ``atomic_energy``.
    data
        One frame, or many, with neighbors. They are not changed.
    velocities : (atoms, 3)
        In any unit of length and time.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    Energy times velocity, not divided by the volume. The whole flux is this and
    :func:`convective_heat_flux`.

    Raises
    ------
    ValueError
        If the velocities do not have a row of three for each atom.
    RuntimeError
        If the system has to be unfolded and the model says no ``hops``, or too few.

    Examples
    --------
    >>> import torch
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2, cubic=True), cutoff=8.5)
    >>> wind = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(4, 3)
    >>> flux = heat_flux(argon, data, wind)  # what a pressure does in a wind
    >>> bool(flux[0, 2] > 0), bool(flux[0, :2].abs().max() < 1e-12)
    (True, True)

    References
    ----------
    Langer, Knoop, Carbogno, Scheffler, Rupp, PRB 108, L100302 (2023).
    """
    _check_velocities(data, velocities)
    graph = wants_graph(model, data, create_graph)
    return _with_flux(model, data, velocities, graph)[1]


def unfolded_heat_flux(
    model: Model,
    data: AtomicDataDict.Type,
    velocities: torch.Tensor,
    *,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """What :func:`heat_flux` gives, from the unfolded system, (frames, 3).

    For any model that says its ``hops``; two backward passes in a system that has all images
    within ``hops`` edges: for small cells, many times more atoms.

    Parameters
    ----------
    model, data, velocities, create_graph
        As for :func:`heat_flux`.

    Raises
    ------
    ValueError
        If the velocities do not have a row of three for each atom.
    RuntimeError
        If the model says no ``hops``, or too few.

    Examples
    --------
    >>> import torch
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2, cubic=True), cutoff=8.5)
    >>> velocities = torch.eye(4, 3, dtype=torch.float64)
    >>> fluxes = [f(argon, data, velocities) for f in (heat_flux, unfolded_heat_flux)]
    >>> torch.allclose(*fluxes)
    True
    """
    _check_velocities(data, velocities)
    graph = wants_graph(model, data, create_graph)
    return _unfolded(model, data, velocities, graph)[1]


def convective_heat_flux(
    outputs: AtomicDataDict.Type,
    velocities: torch.Tensor,
    *,
    masses: torch.Tensor | None = None,
) -> torch.Tensor:
    """The convective part of the heat flux, ``sum_i E_i v_i``, (frames, 3).

    Parameters
    ----------
    outputs
        Of a model: ``atomic_energy``, and ``batch`` if there is more than one frame.
    velocities : (atoms, 3)
    masses : (atoms,)
        With them, ``E_i`` includes the kinetic energy ``m_i v_i²/2``, so that potential and
        convective part together are the change of ``sum_i r_i E_i`` with time. In units
        that make this an energy: amu and ASE's unit of time with eV and Å.

    Examples
    --------
    >>> import torch
    >>> outputs = {"pos": torch.zeros(2, 3), "atomic_energy": torch.tensor([[1.0], [2.0]])}
    >>> convective_heat_flux(outputs, torch.eye(2, 3))
    tensor([[1., 2., 0.]])
    """
    energies = outputs[AtomicDataDict.PER_ATOM_ENERGY_KEY]
    velocities = velocities.to(energies)
    if masses is not None:
        energies = energies + 0.5 * masses.to(energies)[:, None] * velocities.square().sum(1, True)
    return AtomicDataDict.sum_over_atoms(energies * velocities, outputs)


class HeatFluxOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives the two parts of the heat flux too; its data have ``velocities``.

    Parameters
    ----------
    func
        The energy model to wrap.
    create_graph
        Whether what is added is to be differentiable; by default if the wrapped model is being
        trained, or an input requires gradients.

    Raises
    ------
    TypeError, ValueError
        If what is wrapped is no graph module, or gives no scalar energies.
    """

    def __init__(self, func: torch.nn.Module, *, create_graph: bool | None = None) -> None:
        super().__init__()
        self.func, self.create_graph = func, create_graph
        adopt(
            self,
            func,
            of=AtomicDataDict.PER_ATOM_ENERGY_KEY,
            gives={
                AtomicDataDict.HEAT_FLUX_KEY: "1o",
                AtomicDataDict.CONVECTIVE_HEAT_FLUX_KEY: "1o",
            },
            reads={AtomicDataDict.VELOCITIES_KEY: "1o"},
        )

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``heat_flux`` and ``convective_heat_flux``, (frames, 3).

        Raises
        ------
        KeyError
            If the data have no ``velocities``.
        """
        AtomicDataDict.check_data(data)
        if AtomicDataDict.VELOCITIES_KEY not in data:
            raise KeyError(
                f"the heat flux needs {AtomicDataDict.VELOCITIES_KEY!r}, (atoms, 3); the data have "
                f"{', '.join(sorted(data))}"
            )
        velocities = data[AtomicDataDict.VELOCITIES_KEY]
        _check_velocities(data, velocities)
        graph = wants_graph(self, data, self.create_graph)
        outputs, flux = _with_flux(self.func, data, velocities, graph)
        convective = convective_heat_flux(outputs, velocities)
        return {
            **outputs,
            AtomicDataDict.HEAT_FLUX_KEY: flux,
            AtomicDataDict.CONVECTIVE_HEAT_FLUX_KEY: convective,
        }


def _check_velocities(data: AtomicDataDict.Type, velocities: torch.Tensor) -> None:
    AtomicDataDict.check_data(data)
    positions = data[AtomicDataDict.POSITIONS_KEY]
    if not isinstance(velocities, torch.Tensor):
        raise TypeError(
            f"velocities must be a torch tensor, got {type(velocities).__name__}; torch.tensor(…) "
            "makes one"
        )
    if velocities.shape != positions.shape:
        raise ValueError(
            f"velocities have shape {tuple(velocities.shape)}, but the positions have "
            f"{tuple(positions.shape)}"
        )


def _with_flux(
    model: Model, data: AtomicDataDict.Type, velocities: torch.Tensor, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    velocities = velocities.to(data[AtomicDataDict.POSITIONS_KEY])
    if hops_of(model) == 1:
        energies = pair_derivatives(
            model, data, of=AtomicDataDict.PER_ATOM_ENERGY_KEY, create_graph=graph
        )
        if energies.by_positions is None and energies.by_cell is None:
            return energies.outputs, _sum_over_edges(energies, velocities)
    twisted = twisted_flux(model, data, velocities, graph)
    return _unfolded(model, data, velocities, graph) if twisted is None else twisted


def _sum_over_edges(energies: Derivatives, velocities: torch.Tensor) -> torch.Tensor:
    """``-sum_p v_p (dE/dv_p · v_neighbor)``, where every edge belongs to its center."""
    data = energies.data
    vectors = data[AtomicDataDict.EDGE_VECTORS_KEY]
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
    power = (energies.by_vectors * velocities[neighbor]).sum(1, keepdim=True)
    atoms = vectors.new_zeros(len(velocities), 3).index_add(0, center, -vectors * power)
    return AtomicDataDict.sum_over_atoms(atoms, data)


def _unfolded(
    model: Model, data: AtomicDataDict.Type, velocities: torch.Tensor, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    """``sum_i r_i dE_i/dt - sum_j r_j (dE/dr_j · v_j)`` over atoms i and images j."""
    hops = hops_of(model)
    if hops is None:
        raise RuntimeError(
            "the heat flux of this model needs the unfolded system, but the model does not say "
            "how many edges its energies reach: set its attribute 'hops'"
        )
    with torch.inference_mode(False), torch.enable_grad():
        velocities = velocities.to(data[AtomicDataDict.POSITIONS_KEY])
        system = unfolded(data, hops)
        own = len(velocities)
        weights = velocities.new_zeros(len(system.atom), 1)
        weights[:own] = 1.0
        energies = pair_derivatives(
            model,
            system.data,
            of=AtomicDataDict.PER_ATOM_ENERGY_KEY,
            cotangent=weights.requires_grad_(),
            create_graph=True,
        )
        power = (energies.positions * velocities[system.atom]).sum(1, keepdim=True)
        change = backward_pass(power, weights, torch.ones_like(power), graph)[:own]
        total = torch.cat([change, torch.zeros_like(power[own:])]) - power
        flux = AtomicDataDict.sum_over_atoms(_centered(system, own) * total, system.data)
        outputs = model(usable(data))
    _check_energies(outputs, energies.outputs, own, hops)
    flux = flux if graph else flux.detach()
    return outputs if graph else detached(outputs), flux


def _centered(system: Unfolded, own: int) -> torch.Tensor:
    """Positions from the middle of the frame: the total they weigh is zero, but for rounding."""
    positions = system.data[AtomicDataDict.POSITIONS_KEY]
    frame = AtomicDataDict.frame_of_atoms(system.data)
    frames = AtomicDataDict.num_frames(system.data)
    count = torch.bincount(frame[:own], minlength=frames).clamp(min=1)[:, None]
    middle = positions.new_zeros(frames, 3).index_add(0, frame[:own], positions[:own]) / count
    return positions - middle[frame]


def _check_energies(
    outputs: AtomicDataDict.Type, unfolded: AtomicDataDict.Type, own: int, hops: int
) -> None:
    """The atoms of the frames have the same energies in both systems, or hops is too small."""
    key = AtomicDataDict.PER_ATOM_ENERGY_KEY
    expected, found = outputs[key].detach(), unfolded[key].detach()[:own]
    off = (found - expected).abs().max() if own else expected.new_zeros(())
    if off > torch.finfo(off.dtype).eps ** 0.5 * (1.0 + expected.abs().max()):
        raise RuntimeError(
            f"the energies of atoms change by up to {float(off):.3g} when what is more than "
            f"{hops} edges away is cut off: the model must say a larger 'hops'"
        )
