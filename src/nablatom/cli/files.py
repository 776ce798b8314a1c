"""Files with tensors: the suffix says which kind. Light, so that looking at one is quick."""

from collections.abc import Sequence
from pathlib import Path

from nablatom.io import load, save
from nablatom.tensor import TensorMap

__all__ = ["TENSORS", "check_suffix", "open_tensor", "write_tensor"]

TENSORS = (".mts", ".npz", ".safetensors")


def open_tensor(path: Path) -> TensorMap:
    """The tensor of a file, its arrays memory-mapped where the layout allows it."""
    check_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    return load(path, mmap=True)


def write_tensor(path: Path, tensor: TensorMap) -> None:
    """Write a tensor in the layout that the suffix names."""
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, tensor)


def check_suffix(path: Path, suffixes: Sequence[str] = TENSORS) -> None:
    """Refuse a file of another kind, before anything is computed for it."""
    if path.suffix not in suffixes:
        raise ValueError(f"expected a file ending in {' or '.join(suffixes)}, got {path.name!r}")
