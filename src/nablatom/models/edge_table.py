"""Edges as a table: every row holds neighbors of one center, and all rows are equally long.

A sum over neighbors is then one batched matrix product, with no tensor of messages between. A
center with many more neighbors than others takes several rows, and what is left over in a row
is empty slots; their number is small for any structure, and zero in a crystal.
"""

from typing import NamedTuple

import torch

from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["EDGE_SLOTS_KEY", "ROW_CENTERS_KEY", "EdgeTable", "edge_table", "with_edge_table"]

EDGE_SLOTS_KEY = "edge_slots"
ROW_CENTERS_KEY = "edge_row_centers"

# What a row costs beside its slots, in slots: what is summed is written and read once per row.
ROW_COST = 4


class EdgeTable(NamedTuple):
    """Which edge stands in which slot.

    Attributes
    ----------
    slots : (rows, width)
        Index of an edge; the number of edges where the slot is empty.
    centers : (rows,)
        The center of the edges in a row.
    """

    slots: torch.Tensor
    centers: torch.Tensor

    def vectors(self, vectors: torch.Tensor, empty: float) -> torch.Tensor:
        """Edge vectors slot by slot, (rows · width, 3); ``(empty, 0, 0)`` in an empty one."""
        filler = vectors.new_tensor([[empty, 0.0, 0.0]])
        return torch.cat([vectors, filler]).index_select(0, self.slots.flatten())

    def motions(self, motions: torch.Tensor) -> torch.Tensor:
        """Changes of edge vectors slot by slot, (rows · width, motions, 3); zero in empty ones."""
        filler = motions.new_zeros(1, *motions.shape[1:])
        return torch.cat([motions, filler]).index_select(0, self.slots.flatten())

    def neighbors(self, neighbors: torch.Tensor) -> torch.Tensor:
        """The neighbor in each slot, flat (rows · width,); atom 0 in an empty one."""
        return torch.cat([neighbors, neighbors.new_zeros(1)]).index_select(0, self.slots.flatten())


def edge_table(centers: torch.Tensor, atoms: int) -> EdgeTable:
    """The table of edges with these centers, in any order; looks at values.

    The width is the one with the least slots, the cost of rows included. Atoms without
    neighbors have no row.

    Examples
    --------
    >>> slots, centers = edge_table(torch.tensor([0, 2, 2, 0, 2]), atoms=3)
    >>> slots
    tensor([[0, 3, 5],
            [1, 2, 4]])
    >>> centers
    tensor([0, 2])
    """
    counts = torch.bincount(centers, minlength=atoms)
    width = _width(counts)
    rows = (counts + width - 1) // width
    first_row = rows.cumsum(0) - rows
    order = torch.argsort(centers, stable=True)
    sorted_centers = centers[order]
    rank = torch.arange(len(centers), device=centers.device)
    rank = rank - (counts.cumsum(0) - counts)[sorted_centers]
    slots = centers.new_full((int(rows.sum()) * width,), len(centers))
    slots[first_row[sorted_centers] * width + rank] = order
    row_centers = torch.repeat_interleave(torch.arange(atoms, device=centers.device), rows)
    return EdgeTable(slots.view(-1, width), row_centers)


def with_edge_table(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The data with the table of their edges, to be given to a compiled model.

    The width of a table depends on values, so that nothing compiled can make one. A model that
    finds none makes its own in eager mode, and in compiled code puts each edge into a row of
    its own, which takes longer.
    """
    table = edge_table(data[AtomicDataDict.EDGE_INDEX_KEY][0], len(data["pos"]))
    return {**data, EDGE_SLOTS_KEY: table.slots, ROW_CENTERS_KEY: table.centers}


def table_of(data: AtomicDataDict.Type) -> EdgeTable:
    """The table in the data, or a new one."""
    if EDGE_SLOTS_KEY in data:
        return EdgeTable(data[EDGE_SLOTS_KEY], data[ROW_CENTERS_KEY])
    centers = data[AtomicDataDict.EDGE_INDEX_KEY][0]
    if torch.compiler.is_compiling():
        return EdgeTable(torch.arange(len(centers), device=centers.device)[:, None], centers)
    return edge_table(centers, len(data[AtomicDataDict.POSITIONS_KEY]))


def _width(counts: torch.Tensor) -> int:
    """The length of rows with the least cost, for these numbers of neighbors."""
    if not len(counts) or not counts.any():
        return 1
    atoms = torch.bincount(counts)  # with a number of neighbors
    sizes = torch.arange(1, len(atoms), device=counts.device)
    rows = ((sizes + sizes[:, None] - 1) // sizes[:, None] * atoms[1:]).sum(1)  # by width
    return int((rows * (sizes + ROW_COST)).argmin()) + 1
