"""One backward pass of a model, and the derivatives by positions, strain and cell in it.

A model reads the vectors ``v_p = r_j - r_i + S_p H`` of its pairs, and may read the positions
``r`` and the cells ``H`` themselves. The three enter one evaluation as independent inputs, and
one backward pass gives the parts ``g_p = dE/dv_p``, ``dE/dr|_v`` and ``dE/dH|_v``, of which
everything else is a sum:

- ``dE/dr_j = sum_(p to j) g_p - sum_(p from j) g_p + dE/dr_j|_v``,
- ``dE/dstrain = sum_p v_p g_p + sum_j r_j dE/dr_j|_v + sum_k H_k dE/dH_k|_v``, for
  ``r -> r (1 + strain)`` and ``H -> H (1 + strain)``,
- ``dE/dH_k = sum_p S_pk g_p + dE/dH_k|_v``, at fixed Cartesian positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import torch

from nablatom.models import AtomicDataDict

__all__ = ["Derivatives", "Model", "makes_graph", "pair_derivatives"]

Model = Callable[[AtomicDataDict.Type], AtomicDataDict.Type]
"""A graph module, or any function that takes and gives such a dictionary."""

READ = (
    AtomicDataDict.EDGE_VECTORS_KEY,
    AtomicDataDict.POSITIONS_KEY,
    AtomicDataDict.CELL_KEY,
)


@dataclass(frozen=True, eq=False, slots=True)
class Derivatives:
    """The derivatives of one scalar, as one backward pass gave them, and their sums.

    Attributes
    ----------
    outputs
        What the model returned, with the caller's own positions and cell.
    data
        What the model was given: among others ``edge_vectors``, ``pos`` and ``cell``.
    by_vectors : (edges, 3)
        By every pair vector.
    by_positions : (atoms, 3) or None
        By the positions at fixed pair vectors; None if the model does not read them.
    by_cell : (frames, 3, 3) or None
        By the cells at fixed pair vectors and positions; None likewise.
    """

    outputs: AtomicDataDict.Type
    data: AtomicDataDict.Type
    by_vectors: torch.Tensor
    by_positions: torch.Tensor | None
    by_cell: torch.Tensor | None

    @property
    def positions(self) -> torch.Tensor:
        """By the positions, (atoms, 3): minus the forces if this is an energy."""
        center, neighbor = self.data[AtomicDataDict.EDGE_INDEX_KEY]
        count = self.data[AtomicDataDict.POSITIONS_KEY].shape[0]
        total = self.by_vectors.new_zeros(count, 3)
        total = total.index_add(0, neighbor, self.by_vectors)
        total = total.index_add(0, center, self.by_vectors, alpha=-1)
        return total if self.by_positions is None else total + self.by_positions

    @property
    def strain(self) -> torch.Tensor:
        """By a strain of positions and cell, (frames, 3, 3): the volume times the stress."""
        data = self.data
        vectors = data[AtomicDataDict.EDGE_VECTORS_KEY]
        total = _products(vectors, self.by_vectors, AtomicDataDict.frame_of_edges, data)
        if self.by_positions is not None:
            positions = data[AtomicDataDict.POSITIONS_KEY]
            total = total + _products(
                positions, self.by_positions, AtomicDataDict.frame_of_atoms, data
            )
        if self.by_cell is not None:
            cell = data[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3)
            total = total + cell.transpose(1, 2) @ self.by_cell
        return total

    @property
    def cell(self) -> torch.Tensor:
        """By the rows of the cells at fixed Cartesian positions, (frames, 3, 3)."""
        data = self.data
        if AtomicDataDict.CELL_KEY not in data:
            raise ValueError("there is no derivative by the cell: the data have no 'cell'")
        if AtomicDataDict.EDGE_CELL_SHIFT_KEY in data:
            shift = data[AtomicDataDict.EDGE_CELL_SHIFT_KEY].to(self.by_vectors)
        else:
            shift = torch.zeros_like(self.by_vectors)
        total = _products(shift, self.by_vectors, AtomicDataDict.frame_of_edges, data)
        return total if self.by_cell is None else total + self.by_cell


def pair_derivatives(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    of: str = AtomicDataDict.TOTAL_ENERGY_KEY,
    cotangent: torch.Tensor | None = None,
    create_graph: bool | None = None,
) -> Derivatives:
    """The derivatives of ``sum(cotangent * outputs[of])``, from one backward pass.

    The data stay as they are: neither the dictionary nor any tensor in it is changed, also
    if the model raises. Pair vectors follow from the positions, also where the data have
    some already, unless these are themselves part of a graph.

    Parameters
    ----------
    model
        Gives the energies.
    data
        One frame, or many, with neighbors.
    of
        The output to differentiate.
    cotangent : of the shape of that output
        Weights of its entries; ones by default.
    create_graph
        Whether outputs and derivatives are to be differentiable. By default they are if
        gradients are enabled and the model is being trained, or an input requires gradients.
        If not, nothing in the result holds a graph.

    Raises
    ------
    KeyError
        If the model does not return ``of``; the message names what it returns.
    ValueError
        If the cotangent does not have the shape of the output.
    RuntimeError
        If the output does not depend on pair vectors, positions or cell.

    Examples
    --------
    >>> import torch
    >>> def spring(data):
    ...     squares = data["edge_vectors"].square().sum(-1, keepdim=True)
    ...     return data | {"total_energy": squares.sum(0, keepdim=True)}
    >>> data = {
    ...     "pos": torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]),
    ...     "edge_index": torch.tensor([[0], [1]]),
    ... }
    >>> derivatives = pair_derivatives(spring, data)
    >>> -derivatives.positions  # the forces
    tensor([[-0., -0., 3.],
            [-0., -0., -3.]])
    >>> derivatives.strain[0, 2, 2]
    tensor(4.5000)
    """
    graph = makes_graph(model, data) if create_graph is None else create_graph
    with torch.inference_mode(False), torch.enable_grad():
        point = _with_leaves(point_of(usable(data)), graph)
        outputs = model(_read_by_model(point, data))
        parts = _backward(chosen(outputs, of), point, cotangent, graph)
    by_cell = parts.get(AtomicDataDict.CELL_KEY)
    return Derivatives(
        returned(outputs, data, graph),
        point if graph else detached(point),
        parts[AtomicDataDict.EDGE_VECTORS_KEY],
        parts.get(AtomicDataDict.POSITIONS_KEY),
        None if by_cell is None else by_cell.reshape(-1, 3, 3),
    )


def makes_graph(model: object, data: Mapping[str, torch.Tensor]) -> bool:
    """Whether derivatives are themselves to be differentiable, if nobody says so.

    That is so where gradients are enabled and there is something to differentiate by: an input,
    or a parameter of a model in training mode. The mode is that of the model inside all wrappers.

    Raises
    ------
    TypeError
        The data is no dictionary: this is where every output looks at it first.
    """
    AtomicDataDict.check_data(data)
    inputs: Iterable[torch.Tensor] = data.values()
    while isinstance(inner := getattr(model, "func", None), torch.nn.Module):
        model = inner
    if isinstance(model, torch.nn.Module) and model.training:
        inputs = chain(inputs, model.parameters())
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


def leaf(values: torch.Tensor, graph: bool) -> torch.Tensor:
    """The same values, to differentiate by; in the caller's graph if there is one to stay in."""
    if values.is_inference():
        values = values.clone()
    if graph and values.requires_grad:
        return values.view_as(values)
    return values.detach().requires_grad_()


def usable(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """A copy for a graph, which takes no tensor of inference mode."""
    return {key: x.clone() if x.is_inference() else x for key, x in data.items()}


def detached(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The same tensors without a graph."""
    return {key: x.detach() if x.requires_grad else x for key, x in data.items()}


def positions_of(data: AtomicDataDict.Type) -> torch.Tensor:
    """The positions; a KeyError says what there is instead."""
    AtomicDataDict.check_data(data)
    if AtomicDataDict.POSITIONS_KEY not in data:
        raise KeyError(f"the data have no field 'pos'; they have {', '.join(sorted(data))}")
    return data[AtomicDataDict.POSITIONS_KEY]


def point_of(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """A copy of the data with a cell for each frame, and with the edge vectors of its positions."""
    point, positions = dict(data), positions_of(data)
    if AtomicDataDict.CELL_KEY in point:
        point[AtomicDataDict.CELL_KEY] = _cells(point)
    if AtomicDataDict.EDGE_INDEX_KEY not in point:
        point[AtomicDataDict.EDGE_INDEX_KEY] = positions.new_empty(2, 0, dtype=torch.int64)
        point[AtomicDataDict.EDGE_CELL_SHIFT_KEY] = positions.new_empty(0, 3)
    point = AtomicDataDict.with_edge_vectors(_without_vectors(point))
    del point[AtomicDataDict.EDGE_LENGTH_KEY]  # the model takes the lengths of the leaf
    return point


def _with_leaves(point: AtomicDataDict.Type, graph: bool) -> AtomicDataDict.Type:
    """The point with vectors, positions and cells that are independent of each other."""
    return point | {key: leaf(point[key], graph) for key in READ if key in point}


def _read_by_model(point: AtomicDataDict.Type, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """A dictionary that is the model's own; without edges where the data have none."""
    if AtomicDataDict.EDGE_INDEX_KEY in data:
        return dict(point)
    edges = (
        AtomicDataDict.EDGE_INDEX_KEY,
        AtomicDataDict.EDGE_CELL_SHIFT_KEY,
        AtomicDataDict.EDGE_VECTORS_KEY,
    )
    return {key: x for key, x in point.items() if key not in edges}


def _without_vectors(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The data without vectors of another time; those that are part of a graph are kept."""
    stored = data.get(AtomicDataDict.EDGE_VECTORS_KEY)
    drop = {AtomicDataDict.EDGE_LENGTH_KEY}
    if stored is not None and not stored.requires_grad:
        drop.add(AtomicDataDict.EDGE_VECTORS_KEY)
    return {key: x for key, x in data.items() if key not in drop}


def _cells(data: AtomicDataDict.Type) -> torch.Tensor:
    """A cell for each frame, also where they share one."""
    cell, frames = data[AtomicDataDict.CELL_KEY], AtomicDataDict.num_frames(data)
    return cell if frames == 1 else cell.reshape(-1, 3, 3).expand(frames, 3, 3)


def chosen(outputs: AtomicDataDict.Type, of: str) -> torch.Tensor:
    """The output of that name."""
    if of not in outputs:
        raise KeyError(f"the model returns no {of!r}; it returns {', '.join(sorted(outputs))}")
    return outputs[of]


def _backward(
    values: torch.Tensor,
    point: AtomicDataDict.Type,
    cotangent: torch.Tensor | None,
    graph: bool,
) -> AtomicDataDict.Type:
    """The parts of the derivative that there are; that by the vectors there always is."""
    if cotangent is not None and cotangent.shape != values.shape:
        raise ValueError(
            f"the cotangent has shape {tuple(cotangent.shape)}, but the output has "
            f"{tuple(values.shape)}"
        )
    leaves = {key: point[key] for key in READ if key in point}
    parts: tuple[torch.Tensor | None, ...] = (None,) * len(leaves)
    if values.requires_grad:
        parts = torch.autograd.grad(
            values,
            list(leaves.values()),
            torch.ones_like(values) if cotangent is None else cotangent,
            create_graph=graph,
            allow_unused=True,
        )
    found = {key: x for key, x in zip(leaves, parts, strict=True) if x is not None}
    vectors = point[AtomicDataDict.EDGE_VECTORS_KEY]
    if not found and len(vectors):
        raise RuntimeError(
            "the output does not depend on pair vectors, positions or cell: does the model "
            "detach them, or compute under torch.no_grad?"
        )
    found.setdefault(AtomicDataDict.EDGE_VECTORS_KEY, torch.zeros_like(vectors))
    return found


def returned(
    outputs: AtomicDataDict.Type, data: AtomicDataDict.Type, graph: bool, *more: str
) -> AtomicDataDict.Type:
    """Outputs without the leaves: what the caller gave is the caller's, the rest is new."""
    leaves = {*READ, AtomicDataDict.EDGE_LENGTH_KEY, *more}
    own = {key: data[key] for key in leaves if key in data}
    new = outputs if graph else detached(outputs)
    return {key: x for key, x in new.items() if key not in leaves} | own


def _products(
    left: torch.Tensor,
    right: torch.Tensor,
    frame: Callable[[AtomicDataDict.Type], torch.Tensor],
    data: AtomicDataDict.Type,
) -> torch.Tensor:
    """Sums over each frame of ``left_a right_b``, (frames, 3, 3)."""
    frames = AtomicDataDict.num_frames(data)
    if frames == 1:
        return (left.T @ right)[None]
    products = (left[:, :, None] * right[:, None, :]).flatten(1)
    return right.new_zeros(frames, 9).index_add(0, frame(data), products).view(-1, 3, 3)
