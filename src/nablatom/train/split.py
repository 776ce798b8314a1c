"""Which frames to fit on, which to keep for the test, and folds of those to fit on."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["deal", "split_frames"]

Frames = NDArray[np.int64]


def split_frames(count: int, *, fraction: float = 0.8, seed: int = 0) -> tuple[Frames, Frames]:
    """Rows of the training frames and of the test frames, each sorted.

    Parameters
    ----------
    count
        Number of frames; at least two, so that neither part is empty.
    fraction
        Share of the frames to train on.
    seed
        Of the permutation that deals the frames out.

    Raises
    ------
    ValueError
        Fewer than two frames, or a fraction that is not between 0 and 1.

    Examples
    --------
    >>> train, test = split_frames(10, seed=1)
    >>> len(train), len(test)
    (8, 2)
    """
    if count < 2:
        raise ValueError(f"expected at least 2 frames to split into train and test, got {count}")
    if not 0 < fraction < 1:
        raise ValueError(f"expected a training fraction between 0 and 1, got {fraction}")
    order = np.random.default_rng(seed).permutation(count)
    kept = min(max(round(fraction * count), 1), count - 1)
    return np.sort(order[:kept]), np.sort(order[kept:])


def deal(frames: Frames, folds: int, *, seed: int = 0) -> list[Frames]:
    """``frames`` in random parts of nearly equal size, each sorted, none empty."""
    order = np.random.default_rng(seed).permutation(frames)
    return [np.sort(part) for part in np.array_split(order, min(folds, len(order)))]
