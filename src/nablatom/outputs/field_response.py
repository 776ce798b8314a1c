"""What a homogeneous electric field does: dipole, polarizability and Born effective charges.

They are derivatives of the energy in the field ``F`` (the electric enthalpy), for a model that
reads ``electric_field``:

- dipole ``μ_a = -dE/dF_a``,
- polarizability ``α_ab = -d²E/dF_a dF_b = dμ_a/dF_b``,
- Born effective charges ``Z*_i,ab = dμ_a/dr_ib = -d²E/dF_a dr_ib``: the first index is that
  of the field, the second that of the displacement, so that ``sum_a F_a Z*_i,ab`` is, to
  first order, the force of the field on atom i.

With energies in eV, positions in Å and the field in V/Å, charges are in units of e, dipoles in
e Å, polarizabilities in e Å²/V.

References: Gonze and Lee, PRB 55, 10355 (1997); Nunes and Gonze, PRB 63, 155107 (2001), for
the enthalpy.
"""

from __future__ import annotations

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import Model, detached, leaf, usable
from nablatom.outputs.passes import backward_pass
from nablatom.outputs.wrapper import adopt, wants_graph

__all__ = [
    "FieldResponseOutput",
    "born_charges",
    "dipole",
    "field_response",
    "polarizability",
]


def dipole(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """The dipole of each frame in its field, ``μ_a = -dE/dF_a``, (frames, 3).

    One backward pass. For periodic frames, it is as much a matter of choice as the energy of a
    periodic system in a field is; its derivatives are not.

    Parameters
    ----------
    model, data, create_graph
        As for :func:`field_response`.

    Raises
    ------
    ValueError
        If the energy does not depend on the field.

    Examples
    --------
    >>> import torch
    >>> def two_charges(data):  # +1 and -1 in a field
    ...     positions, field = data["pos"], data["electric_field"]
    ...     energy = -(torch.tensor([1.0, -1.0]) @ positions) @ field[0]
    ...     return data | {"total_energy": energy.reshape(1, 1)}
    >>> dipole(two_charges, {"pos": torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])})
    tensor([[0., 0., 1.]])
    """
    graph = wants_graph(model, data, create_graph)
    with torch.inference_mode(False), torch.enable_grad():
        response = _Response(model, data, graph, again=False)
    return response.dipole if graph else response.dipole.detach()


def polarizability(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """The polarizability of each frame, ``α_ab = dμ_a/dF_b``, (frames, 3, 3), symmetric.

    Four backward passes.

    Parameters
    ----------
    model, data, create_graph
        As for :func:`field_response`.

    Raises
    ------
    ValueError
        If the energy does not depend on the field.

    Examples
    --------
    >>> import torch
    >>> def ball(data):
    ...     squares = data["electric_field"].square().sum(1, keepdim=True)
    ...     return data | {"total_energy": -0.5 * 3.0 * squares}
    >>> polarizability(ball, {"pos": torch.zeros(1, 3)}).diagonal(dim1=1, dim2=2)
    tensor([[3., 3., 3.]])
    """
    return field_response(model, data, create_graph=create_graph)[AtomicDataDict.POLARIZABILITY_KEY]


def born_charges(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """The Born effective charges, ``Z*_i,ab = dμ_a/dr_ib``, (atoms, 3, 3).

    Four backward passes, whatever the number of atoms. Over the atoms of a frame, they sum to
    its charge times the unit matrix: to zero if it is neutral.

    Parameters
    ----------
    model, data, create_graph
        As for :func:`field_response`.

    Raises
    ------
    ValueError
        If the energy does not depend on the field.

    Examples
    --------
    >>> import torch
    >>> def two_charges(data):
    ...     positions, field = data["pos"], data["electric_field"]
    ...     energy = -(torch.tensor([1.0, -1.0]) @ positions) @ field[0]
    ...     return data | {"total_energy": energy.reshape(1, 1)}
    >>> born_charges(two_charges, {"pos": torch.randn(2, 3)}).diagonal(dim1=1, dim2=2)
    tensor([[ 1.,  1.,  1.],
            [-1., -1., -1.]])
    """
    return field_response(model, data, create_graph=create_graph)[AtomicDataDict.BORN_CHARGES_KEY]


def field_response(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> AtomicDataDict.Type:
    """The outputs of the model with ``dipole``, ``polarizability`` and ``born_charges``.

    One evaluation and four backward passes.

    Parameters
    ----------
    model
        Reads ``electric_field`` and gives ``total_energy``.
    data
        One frame, or many, with ``electric_field`` (frames, 3); without, the field is zero.
        They are not changed.
    create_graph
        Whether the results are to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    Among others ``dipole`` (frames, 3), ``polarizability`` (frames, 3, 3) and ``born_charges``
    (atoms, 3, 3). Signs, index order and units: see the module.

    Raises
    ------
    ValueError
        If the energy does not depend on the field, or the field does not have three components
        for each frame.
    KeyError
        If the model gives no ``total_energy``.

    Examples
    --------
    >>> import torch
    >>> def ball(data):
    ...     squares = data["electric_field"].square().sum(1, keepdim=True)
    ...     return data | {"total_energy": -0.5 * 3.0 * squares}
    >>> outputs = field_response(ball, {"pos": torch.zeros(1, 3)})
    >>> outputs["dipole"].shape, outputs["polarizability"].shape, outputs["born_charges"].shape
    (torch.Size([1, 3]), torch.Size([1, 3, 3]), torch.Size([1, 3, 3]))
    """
    graph = wants_graph(model, data, create_graph)
    with torch.inference_mode(False), torch.enable_grad():
        response = _Response(model, data, graph, again=True)
        rows = [response.row(a) for a in range(3)]
    results = {
        **response.outputs,
        AtomicDataDict.DIPOLE_KEY: response.dipole,
        AtomicDataDict.POLARIZABILITY_KEY: torch.stack([by_field for by_field, _ in rows], dim=1),
        AtomicDataDict.BORN_CHARGES_KEY: torch.stack(
            [by_positions for _, by_positions in rows], dim=1
        ),
    }
    return results if graph else detached(results)


class FieldResponseOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives ``dipole``, ``polarizability`` and ``born_charges`` too.

    See :func:`field_response`.

    Parameters
    ----------
    func
        The energy model to wrap; it reads ``electric_field``.
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
        responses = {
            AtomicDataDict.DIPOLE_KEY: "1o",
            AtomicDataDict.POLARIZABILITY_KEY: "0e + 1e + 2e",
            AtomicDataDict.BORN_CHARGES_KEY: "0e + 1e + 2e",
        }
        reads = {AtomicDataDict.ELECTRIC_FIELD_KEY: "1o"}
        adopt(self, func, of=AtomicDataDict.TOTAL_ENERGY_KEY, gives=responses, reads=reads)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with the three responses."""
        graph = wants_graph(self, data, self.create_graph)
        return field_response(self.func, data, create_graph=graph)


class _Response:
    """One evaluation in a field, its first derivative, and on demand rows of the second."""

    def __init__(
        self, model: Model, data: AtomicDataDict.Type, graph: bool, *, again: bool
    ) -> None:
        dropped = (AtomicDataDict.EDGE_VECTORS_KEY, AtomicDataDict.EDGE_LENGTH_KEY)
        self.graph = graph
        self.field = leaf(_field(data), graph)
        self.positions = leaf(data[AtomicDataDict.POSITIONS_KEY], graph)
        point = {key: x for key, x in usable(data).items() if key not in dropped} | {
            AtomicDataDict.ELECTRIC_FIELD_KEY: self.field,
            AtomicDataDict.POSITIONS_KEY: self.positions,
        }
        given = model(point)
        self.dipole = -_slope(given, self.field, graph or again)
        own = {key: data[key] for key in point if key in data}
        self.outputs = {**given, **own}

    def row(self, a: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The derivatives of component a of the dipole, by the field and by the positions."""
        cotangent = torch.zeros_like(self.dipole)
        cotangent[:, a] = 1.0
        by_field = backward_pass(self.dipole, self.field, cotangent, self.graph)
        by_positions = backward_pass(self.dipole, self.positions, cotangent, self.graph)
        return by_field, by_positions


def _field(data: AtomicDataDict.Type) -> torch.Tensor:
    """The field of each frame, (frames, 3)."""
    frames = AtomicDataDict.num_frames(data)
    given = data.get(AtomicDataDict.ELECTRIC_FIELD_KEY)
    if given is None:
        return data[AtomicDataDict.POSITIONS_KEY].new_zeros(frames, 3)
    if given.shape != (frames, 3) and not (frames == 1 and given.shape == (3,)):
        raise ValueError(
            f"electric_field has shape {tuple(given.shape)}; expected ({frames}, 3), three "
            "components for each frame"
        )
    return given.reshape(frames, 3)


def _slope(outputs: AtomicDataDict.Type, field: torch.Tensor, graph: bool) -> torch.Tensor:
    """``dE/dF``, (frames, 3)."""
    if AtomicDataDict.TOTAL_ENERGY_KEY not in outputs:
        raise KeyError(f"the model returns no 'total_energy'; it returns {', '.join(outputs)}")
    energy = outputs[AtomicDataDict.TOTAL_ENERGY_KEY]
    slope = None
    if energy.requires_grad:
        (slope,) = torch.autograd.grad(energy.sum(), field, create_graph=graph, allow_unused=True)
    if slope is None:
        raise ValueError(
            "the energy does not depend on 'electric_field': a response to the field needs a "
            "model that reads it"
        )
    return slope
