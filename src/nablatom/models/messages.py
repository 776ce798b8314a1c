"""What a path of a convolution sums over the neighbors of atoms, also while they move.

With ``R`` the weights, functions of the length of an edge, ``x`` the features of its neighbor and
``M`` its harmonics times the Clebsch-Gordan coefficients, a path sums ``Σ_j Σ_a (R x_a) M_ac``.
For motions that lengthen the edge by ``dr``,

``d(R x M) = (R dx) M + (R x) dM + (dR/dr x) (dr M)``,

in two batched products: the weights and their slopes are made once for all motions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from nablatom.models.edge_table import EdgeTable

__all__ = ["EdgeJets", "Edges", "jets_of_messages", "messages"]

PIECE = 6000
"""Edges times motions of which a layer makes messages together: about what stays in a cache."""


class Edges(NamedTuple):
    """What layers know of the edges, slot by slot of their table, in the layers' precision.

    Attributes
    ----------
    table
        Which edge stands where.
    neighbors : (rows · width,)
    harmonics : (rows · width, (l_max + 1)²)
    radial : (rows · width, radial functions)
        Zero in empty slots.
    atoms
        Number of centers, those without neighbors included.
    """

    table: EdgeTable
    neighbors: torch.Tensor
    harmonics: torch.Tensor
    radial: torch.Tensor
    atoms: int

    def of_first(self, atoms: int) -> Edges:
        """The edges of the first so many centers; looks at values if these are not all."""
        if atoms == self.atoms:
            return self
        width = self.table.slots.shape[1]
        rows = int((self.table.centers < atoms).sum())
        table = EdgeTable(self.table.slots[:rows], self.table.centers[:rows])
        flat = (x[: rows * width] for x in (self.neighbors, self.harmonics, self.radial))
        neighbors, harmonics, radial = flat
        return Edges(table, neighbors, harmonics, radial, atoms)


class EdgeJets(NamedTuple):
    """What layers know of edges that move.

    Attributes
    ----------
    table, neighbors, atoms
        As in `Edges`.
    harmonics : (rows · width, 1 + motions, (l_max + 1)²)
    radial : (rows · width, 2, radial functions)
        With the slope, by the length.
    stretches : (rows · width, motions)
        How the lengths change.
    """

    table: EdgeTable
    neighbors: torch.Tensor
    harmonics: torch.Tensor
    radial: torch.Tensor
    stretches: torch.Tensor
    atoms: int

    def pieces(self) -> Iterator[EdgeJets]:
        """A few rows of the table at a time; all at once on an accelerator."""
        count, width = self.table.slots.shape
        cached = PIECE // (width * self.harmonics.shape[1])
        rows = max(cached if self.radial.device.type == "cpu" else count, 1)
        for start in range(0, max(count, 1), rows):
            here = slice(start, start + rows)
            slots = slice(start * width, (start + rows) * width)
            yield EdgeJets(
                EdgeTable(self.table.slots[here], self.table.centers[here]),
                self.neighbors[slots],
                self.harmonics[slots],
                self.radial[slots],
                self.stretches[slots],
                self.atoms,
            )


def messages(
    x: torch.Tensor, weight: torch.Tensor, matrix: torch.Tensor, edges: Edges
) -> torch.Tensor:
    """Summed over the slots of each row: (rows, 2 l3 + 1, columns).

    Parameters
    ----------
    x : (slots, 2 l1 + 1, columns)
        Features of the neighbors.
    weight : (slots, columns)
    matrix : (slots, 2 l1 + 1, 2 l3 + 1)
    """
    return _summed(matrix, x * weight[:, None], edges.table)


def jets_of_messages(
    x: torch.Tensor, weight: torch.Tensor, matrix: torch.Tensor, edges: EdgeJets
) -> torch.Tensor:
    """The same for jets: (rows, (2 l3 + 1) (1 + motions), columns).

    Parameters
    ----------
    x : (slots, (2 l1 + 1) (1 + motions), columns)
    weight : (slots, 2, columns)
        With the slope, by the length.
    matrix : (slots, 1 + motions, 2 l1 + 1, 2 l3 + 1)
    """
    slots, jet, before, after = matrix.shape
    columns = x.shape[-1]
    # For matrices at rest, changes are more columns; changes of matrices are more of their rows.
    sums = _summed(
        matrix[:, 0], (x * weight[:, :1]).view(slots, before, jet * columns), edges.table
    )
    values = x.view(slots, 1, before, jet, columns)[:, :, :, 0] * weight[:, :, None]
    shorter = edges.stretches[:, :, None, None] * matrix[:, :1]
    moved = torch.stack([matrix[:, 1:], shorter], 1).movedim(2, -1)
    changes = _summed(moved.flatten(1, 2).flatten(2), values.flatten(1, 2), edges.table)
    still, carried = sums.view(-1, after, jet, columns).split_with_sizes([1, jet - 1], 2)
    carried = carried + changes.view(-1, after, jet - 1, columns)
    return torch.cat([still, carried], 2).flatten(1, 2)


def _summed(matrix: torch.Tensor, x: torch.Tensor, table: EdgeTable) -> torch.Tensor:
    """Products summed over slots and rows of the matrix: (rows, columns of it, columns of x)."""
    (rows, width), (_, before, after) = table.slots.shape, matrix.shape
    summed = width * before
    # Matrices with gaps between them would be multiplied one by one.
    matrix = matrix.contiguous().view(rows, summed, after)
    return matrix.transpose(1, 2) @ x.view(rows, summed, x.shape[-1])
