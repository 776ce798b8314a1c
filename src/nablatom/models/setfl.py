"""Tables of embedded-atom potentials: setfl files (``eam/alloy`` and ``eam/fs``).

Three lines of comment; the number of elements and their names; ``N_rho, d_rho, N_r, d_r`` and
the cutoff. Then for each element a line (atomic number, mass, lattice constant, lattice), its
``N_rho`` energies of embedding and its ``N_r`` densities, and last for each pair of elements
``N_r`` values of ``r φ(r)``. An ``eam/fs`` file has a density for each element at the center.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

__all__ = ["Setfl"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Setfl:
    """What a setfl file says.

    Attributes
    ----------
    elements
        Symbols, in the order of the tables.
    cutoff
        Å.
    density_step, distance_step
        Between the points of the tables, which begin at zero; the distance in Å.
    embedding : (elements, densities), eV
        ``F(ρ)`` of the element at the center.
    density : (elements, elements, distances)
        ``ρ(r)`` at the first element because of the second.
    pair : (elements, elements, distances), eV Å
        ``r φ(r)``.
    """

    elements: tuple[str, ...]
    cutoff: float
    density_step: float
    distance_step: float
    embedding: Numbers
    density: Numbers
    pair: Numbers

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The tables in a file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is not a setfl file, or not a whole one: says where it departs from it.
        """
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        try:
            return cls._parsed(lines)
        except ValueError as error:
            raise ValueError(f"{path} is not a setfl file: {error}") from None

    @classmethod
    def _parsed(cls, lines: list[str]) -> Self:
        if len(lines) < 6:
            raise ValueError(f"expected three comments and a header, got {len(lines)} lines")
        count, *elements = lines[3].split()
        if not elements or count != str(len(elements)):
            raise ValueError(f"line 4 is {lines[3]!r}; expected the number of elements and names")
        unknown = [name for name in elements if name not in atomic_numbers]
        if unknown:
            raise ValueError(f"line 4 names {unknown[0]!r}, which is no chemical symbol")
        sizes = _header(lines[4])
        words = " ".join(lines[5:]).split()
        tables = _tables(words, len(elements), sizes.densities, sizes.distances)
        return cls(tuple(elements), sizes.cutoff, sizes.density_step, sizes.distance_step, *tables)


@dataclass(frozen=True, slots=True)
class _Sizes:
    densities: int
    density_step: float
    distances: int
    distance_step: float
    cutoff: float


def _header(line: str) -> _Sizes:
    try:
        n_rho, d_rho, n_r, d_r, cutoff = line.split()[:5]
        sizes = _Sizes(int(n_rho), float(d_rho), int(n_r), float(d_r), float(cutoff))
    except ValueError:
        raise ValueError(f"line 5 is {line!r}; expected N_rho d_rho N_r d_r cutoff") from None
    if min(sizes.densities, sizes.distances) < 4 or not (
        min(sizes.density_step, sizes.distance_step, sizes.cutoff) > 0
    ):
        raise ValueError(f"line 5 is {line!r}; expected at least 4 points and positive steps")
    return sizes


def _tables(words: list[str], n: int, n_rho: int, n_r: int) -> tuple[Numbers, Numbers, Numbers]:
    """Embedding, density and pair tables; how many densities there are says the length."""
    pairs = n * (n + 1) // 2 * n_r
    for densities in (1, n):
        own = 4 + n_rho + densities * n_r
        if len(words) == n * own + pairs:
            break
    else:
        raise ValueError(
            f"there are {len(words)} words after line 5; expected "
            f"{n * (4 + n_rho + n_r) + pairs} for {n} elements, {n_rho} and {n_r} points"
        )
    rows = [words[i * own + 4 : (i + 1) * own] for i in range(n)]
    numbers = _numbers(rows).reshape(n, own - 4)
    embedding, density = numbers[:, :n_rho], numbers[:, n_rho:].reshape(n, densities, n_r)
    # A section holds the densities that its element makes; ours are sorted by where they are.
    at_center = np.broadcast_to(density, (n, n, n_r)).swapaxes(0, 1)
    pair = np.empty((n, n, n_r))
    lower = np.tril_indices(n)
    pair[lower] = _numbers([words[n * own :]]).reshape(-1, n_r)
    pair[lower[::-1]] = pair[lower]
    return embedding, np.ascontiguousarray(at_center), pair


def _numbers(rows: list[list[str]]) -> Numbers:
    """Fortran's exponents (1.0D-3) too."""
    try:
        values = np.array([[float(w.replace("D", "E").replace("d", "e")) for w in r] for r in rows])
    except ValueError as error:
        raise ValueError(f"a table holds something that is no number ({error})") from None
    if not np.isfinite(values).all():
        raise ValueError("a table holds NaN or infinity")
    return values
