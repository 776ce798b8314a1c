"""Products with the Jacobian of an output, which never make the Jacobian.

With ``X`` an output, such as the energies of the atoms, and ``q`` what it depends on (positions,
strain, cells, or any other input):

- ``vjp``: ``sum_i u_i dX_i/dq``, one backward pass,
- ``jvp``: ``sum_q dX_i/dq t_q``, as the derivative by ``u`` of the product above, which is linear
  in ``u``: two passes, through operations that only need second derivatives (forward mode lacks
  a rule for many of them),
- ``hvp``: ``sum_q' d²(sum_i X_i)/dq dq' t_q'``, the derivative of a derivative.

A :class:`Linearization` gives any number of all three for one evaluation of the model.

Strain moves positions and cells, ``r -> r (1 + strain)`` and ``H -> H (1 + strain)``; the
derivative by the cell is at fixed Cartesian positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import Model, chosen, leaf, makes_graph, returned, usable

__all__ = ["Linearization", "jvp", "linearize", "vjp"]

POSITIONS, STRAIN = "positions", "strain"
_MOVED = (POSITIONS, STRAIN, AtomicDataDict.CELL_KEY)

Tangents = Mapping[str, torch.Tensor]


class Linearization:
    """An output around one point: any number of products with its derivatives.

    It is made by :func:`linearize`, and keeps the graph of that evaluation as long as it lives.

    Attributes
    ----------
    outputs
        What the model returned.
    values
        The output that was linearized.
    """

    def __init__(
        self,
        outputs: AtomicDataDict.Type,
        values: torch.Tensor,
        leaves: dict[str, torch.Tensor],
        create_graph: bool,
    ) -> None:
        self.outputs = outputs
        self.values = values if create_graph else values.detach()
        self._values = values
        self._leaves = leaves
        self._graph = create_graph

    def vjp(self, cotangent: torch.Tensor) -> dict[str, torch.Tensor]:
        """``sum_i cotangent_i dX_i/dq`` for every ``q``, each of the shape of ``q``.

        Parameters
        ----------
        cotangent : of the shape of the values
        """
        _check_shape("cotangent", cotangent, self._values)
        return self._derivatives([self._values], [cotangent], self._graph)

    def jvp(self, tangents: Tangents) -> torch.Tensor:
        """``sum_q dX_i/dq tangent_q``, of the shape of the values.

        Parameters
        ----------
        tangents
            For each of what is moved, a tensor of its shape; what is left out stays in place.
        """
        moved = [name for name in self._checked(tangents) if self._transposed[name].requires_grad]
        if not moved:
            return torch.zeros_like(self._values)
        with torch.inference_mode(False):
            (product,) = torch.autograd.grad(
                [self._transposed[name] for name in moved],
                [self._cotangent],
                [_usable(tangents[name]) for name in moved],
                retain_graph=True,
                create_graph=self._graph,
                allow_unused=True,
                materialize_grads=True,
            )
        return product

    def hvp(self, tangents: Tangents) -> dict[str, torch.Tensor]:
        """``sum_q' d²(sum_i X_i)/dq dq' tangent_q'`` for every ``q``, each of its shape.

        Parameters
        ----------
        tangents
            For each of what is moved, a tensor of its shape; what is left out stays in place.
        """
        moved = [name for name in self._checked(tangents) if self._slope[name].requires_grad]
        slopes = [self._slope[name] for name in moved]
        return self._derivatives(slopes, [tangents[name] for name in moved], self._graph)

    @cached_property
    def _cotangent(self) -> torch.Tensor:
        """A variable to take the product with the transposed Jacobian by."""
        with torch.inference_mode(False):
            return torch.zeros_like(self._values, requires_grad=True)

    @cached_property
    def _transposed(self) -> dict[str, torch.Tensor]:
        return self._derivatives([self._values], [self._cotangent], create_graph=True)

    @cached_property
    def _slope(self) -> dict[str, torch.Tensor]:
        ones = torch.ones_like(self._values)
        return self._derivatives([self._values], [ones], create_graph=True)

    def _derivatives(
        self, of: Sequence[torch.Tensor], by: Sequence[torch.Tensor], create_graph: bool
    ) -> dict[str, torch.Tensor]:
        """The derivative of the sum of ``of * by`` by each leaf; zero where there is none."""
        if not any(x.requires_grad for x in of):
            return {name: torch.zeros_like(x) for name, x in self._leaves.items()}
        with torch.inference_mode(False):
            found = torch.autograd.grad(
                list(of),
                list(self._leaves.values()),
                [_usable(x) for x in by],
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        return dict(zip(self._leaves, found, strict=True))

    def _checked(self, tangents: Tangents) -> Tangents:
        for name, tangent in tangents.items():
            if name not in self._leaves:
                raise KeyError(
                    f"no tangent can be given for {name!r}: the output was linearized with "
                    f"respect to {', '.join(self._leaves)}"
                )
            _check_shape(f"tangent of {name!r}", tangent, self._leaves[name])
        return tangents


def linearize(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    of: str = AtomicDataDict.PER_ATOM_ENERGY_KEY,
    wrt: str | Sequence[str] = POSITIONS,
    create_graph: bool | None = None,
) -> Linearization:
    """An output of a model around one point, to take products with its derivatives.

    The data stay as they are, as in
    :func:`~nablatom.outputs.derivatives.pair_derivatives`.

    Parameters
    ----------
    model
        A graph module or function. For derivatives of forces, an output that gives forces.
    of
        The output, of any shape.
    wrt
        ``positions`` (atoms, 3), ``strain`` (frames, 3, 3), ``cell`` (as in the data), and any
        other field of the data with real numbers.
    create_graph
        Whether the products are to be differentiable themselves; by default if gradients are
        enabled and the model is being trained, or an input requires gradients.

    Raises
    ------
    KeyError
        If the model does not return the output, or the data have no such field.
    ValueError
        If a field holds integers.

    Examples
    --------
    >>> import torch
    >>> def springs(data):
    ...     squares = 0.5 * data["pos"].square().sum(1, keepdim=True)
    ...     return data | {"atomic_energy": squares}
    >>> positions = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> near = linearize(springs, {"pos": positions})
    >>> near.vjp(torch.tensor([[1.0], [0.0]]))["positions"]
    tensor([[1., 2., 0.],
            [0., 0., 0.]])
    >>> near.jvp({"positions": torch.ones(2, 3)})
    tensor([[3.],
            [3.]])
    """
    names = [wrt] if isinstance(wrt, str) else list(wrt)
    graph = makes_graph(model, data) if create_graph is None else create_graph
    with torch.inference_mode(False), torch.enable_grad():
        leaves = {name: leaf(_variable(data, name), graph) for name in names}
        outputs = model(_moved(data, leaves))
        values = chosen(outputs, of)
    return Linearization(returned(outputs, data, graph, *names), values, leaves, graph)


def vjp(
    model: Model,
    data: AtomicDataDict.Type,
    cotangents: torch.Tensor,
    *,
    of: str = AtomicDataDict.PER_ATOM_ENERGY_KEY,
    wrt: str | Sequence[str] = POSITIONS,
    create_graph: bool | None = None,
) -> dict[str, torch.Tensor]:
    """``sum_i u_i dX_i/dq`` for cotangents ``u`` of an output ``X``, exact, in one backward pass.

    With cotangents of one, and the energies of the atoms as output, the derivatives are minus
    the forces; with the weights of a selection, those of the energy of that selection.

    Parameters
    ----------
    cotangents : of the shape of the output
    of, wrt, create_graph
        As in :func:`linearize`.

    Returns
    -------
    For each of ``wrt``, a tensor of its shape.

    Examples
    --------
    >>> import torch
    >>> springs = lambda data: {"atomic_energy": data["pos"].square().sum(1, keepdim=True)}
    >>> vjp(springs, {"pos": torch.eye(3)}, torch.tensor([[0.0], [2.0], [0.0]]))["positions"]
    tensor([[0., 0., 0.],
            [0., 4., 0.],
            [0., 0., 0.]])
    """
    return linearize(model, data, of=of, wrt=wrt, create_graph=create_graph).vjp(cotangents)


def jvp(
    model: Model,
    data: AtomicDataDict.Type,
    tangents: Tangents,
    *,
    of: str = AtomicDataDict.PER_ATOM_ENERGY_KEY,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """``sum_q dX_i/dq t_q``: how an output ``X`` changes along tangents ``t``, exact.

    With velocities as the tangent of the positions, and the energies of the atoms as output,
    it is the rate of change of these energies.

    Parameters
    ----------
    tangents
        For each of ``positions``, ``strain``, ``cell`` or another field of the data that is
        moved, a tensor of its shape.
    of, create_graph
        As in :func:`linearize`.

    Returns
    -------
    A tensor of the shape of the output.

    Examples
    --------
    >>> import torch
    >>> springs = lambda data: {"atomic_energy": data["pos"].square().sum(1, keepdim=True)}
    >>> data = {"pos": torch.tensor([[1.0, 2.0, 2.0]])}
    >>> jvp(springs, data, {"strain": torch.eye(3)[None]})
    tensor([[18.]])
    """
    names = list(tangents)
    return linearize(model, data, of=of, wrt=names, create_graph=create_graph).jvp(tangents)


def _variable(data: AtomicDataDict.Type, name: str) -> torch.Tensor:
    """The values to differentiate by; strain is none at all."""
    positions = data[AtomicDataDict.POSITIONS_KEY]
    if name == POSITIONS:
        return positions
    if name == STRAIN:
        return positions.new_zeros(AtomicDataDict.num_frames(data), 3, 3)
    if name not in data:
        raise KeyError(
            f"cannot differentiate by {name!r}: choose {POSITIONS}, {STRAIN}, or one of the fields "
            f"of the data, {', '.join(sorted(data))}"
        )
    if not data[name].is_floating_point():
        raise ValueError(f"cannot differentiate by {name!r}: it holds {data[name].dtype}")
    return data[name]


def _moved(data: AtomicDataDict.Type, leaves: Mapping[str, torch.Tensor]) -> AtomicDataDict.Type:
    """What the model is given: the data as a function of the leaves."""
    moved = usable(data)
    moved |= {name: x for name, x in leaves.items() if name not in (POSITIONS, STRAIN)}
    if POSITIONS in leaves:
        moved[AtomicDataDict.POSITIONS_KEY] = leaves[POSITIONS]
    if STRAIN in leaves:
        moved |= _strained(moved, leaves[STRAIN])
    if not any(name in leaves for name in _MOVED):
        return moved
    derived = {AtomicDataDict.EDGE_VECTORS_KEY, AtomicDataDict.EDGE_LENGTH_KEY} - leaves.keys()
    return {key: x for key, x in moved.items() if key not in derived}


def _strained(data: AtomicDataDict.Type, strain: torch.Tensor) -> AtomicDataDict.Type:
    """Positions and cells under the strain of their frame."""
    positions = data[AtomicDataDict.POSITIONS_KEY]
    own = strain.index_select(0, AtomicDataDict.frame_of_atoms(data))
    fields = {AtomicDataDict.POSITIONS_KEY: positions + (positions[:, None] @ own)[:, 0]}
    if AtomicDataDict.CELL_KEY in data:
        cell = data[AtomicDataDict.CELL_KEY]
        strained = cell + cell @ strain
        fields[AtomicDataDict.CELL_KEY] = (
            strained.reshape(cell.shape) if len(strained) == 1 else strained
        )
    return fields


def _usable(x: torch.Tensor) -> torch.Tensor:
    """The same values for a graph, which takes no tensor of inference mode."""
    return x.clone() if x.is_inference() else x


def _check_shape(name: str, given: torch.Tensor, like: torch.Tensor) -> None:
    if given.shape != like.shape:
        raise ValueError(f"the {name} has shape {tuple(given.shape)}; expected {tuple(like.shape)}")
