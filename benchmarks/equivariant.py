"""λ-SOAP and bispectrum beside featomic's Clebsch-Gordan products, from structures to a tensor.

Silicon and organic molecules; cutoff 5 Å of width 0.5 Å, Gaussians of 0.3 Å. Values only: the peer
has no gradients through these products. λ-SOAP: 5 radial functions, l up to 4, all λ. Bispectrum:
3 radial functions, l up to 3, scalars.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import ase
import numpy as np

from benchmarks.bars import Faster
from benchmarks.descriptors import HYPERS, molecules, silicon
from benchmarks.duel import Duel, Duels

__all__ = ["EQUIVARIANT"]


def equivariant(reduced: bool) -> Iterator[Duel]:
    """The two products, each on a crystal and on molecules."""
    crystal, many = silicon(1 if reduced else 2), molecules(2 if reduced else 4)
    for case, frames in ((f"Si {len(crystal[0])}", crystal), (f"{len(many)} molecules", many)):
        yield _products(f"λ-SOAP, {case}, values", frames)
        yield _bispectrum(f"bispectrum, {case}, values", frames)


EQUIVARIANT = Duels("Equivariant products, 5 Å, float64, beside featomic", equivariant)


def _products(name: str, frames: list[ase.Atoms]) -> Duel:
    from nablatom.descriptors import EquivariantPowerSpectrum

    hypers = _hypers(max_angular=4, max_radial=4)
    ours = EquivariantPowerSpectrum(_expansion(hypers))

    def peer() -> Callable[[], Any] | None:
        featomic = _featomic()
        if featomic is None:
            return None
        types = sorted({int(z) for frame in frames for z in frame.numbers})
        theirs = featomic.clebsch_gordan.EquivariantPowerSpectrum(
            featomic.SphericalExpansion(**hypers), neighbor_types=types
        )
        return lambda: theirs.compute(frames)

    def agree(mine: Any, other: Any) -> None:
        for key, block in mine.items():
            theirs = other.block({n: int(key[n]) for n in key.names})
            _same(block, theirs, key["o3_sigma"] * np.asarray(theirs.values))

    return Duel(name, Faster(3), lambda: ours(frames), peer(), agree)


def _bispectrum(name: str, frames: list[ase.Atoms]) -> Duel:
    from nablatom.descriptors import Bispectrum

    hypers = _hypers(max_angular=3, max_radial=2)
    ours = Bispectrum(_expansion(hypers))

    def peer() -> Callable[[], Any] | None:
        featomic = _featomic()
        if featomic is None:
            return None
        import metatensor

        types = sorted({int(z) for frame in frames for z in frame.numbers})
        expansion = featomic.SphericalExpansion(**hypers)
        correlations = featomic.clebsch_gordan.DensityCorrelations(
            n_correlations=2, max_angular=6, skip_redundant=True
        )
        scalar = metatensor.Labels(["o3_lambda", "o3_sigma"], np.array([[0, 1]]))
        every = metatensor.Labels("neighbor_type", np.array(types)[:, None])

        def compute() -> Any:
            density = expansion.compute(frames).keys_to_properties(every)
            return correlations.compute(density, angular_cutoff=3, selected_keys=scalar)

        return compute

    return Duel(name, Faster(3), lambda: ours(frames), peer())


def _same(block: Any, theirs: Any, values: np.ndarray) -> None:
    wanted = {tuple(entry): row for row, entry in enumerate(theirs.samples.values.tolist())}
    rows = [wanted[tuple(entry)] for entry in block.samples.values.tolist()]
    np.testing.assert_allclose(block.values, values[rows], atol=1e-6)


def _hypers(*, max_angular: int, max_radial: int) -> dict[str, Any]:
    hypers = copy.deepcopy(HYPERS)
    hypers["basis"] |= {"max_angular": max_angular}
    hypers["basis"]["radial"]["max_radial"] = max_radial
    return hypers


def _expansion(hypers: dict[str, Any]) -> Any:
    from nablatom.descriptors import from_featomic

    return from_featomic("SphericalExpansion", hypers)


def _featomic() -> Any:
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    try:
        import featomic
        import featomic.clebsch_gordan
    except ImportError:
        return None
    return featomic
