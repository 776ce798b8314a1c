"""Files with tensors: the suffix says which kind. Light, so that looking at one is quick."""

from pathlib import Path

from nablatom.io import load, save
from nablatom.tensor import TensorMap

__all__ = ["TENSORS", "open_tensor", "write_tensor"]

TENSORS = (".mts", ".npz", ".safetensors")


def open_tensor(path: Path) -> TensorMap:
    """The tensor of a file, its arrays memory-mapped where the layout allows it."""
    _check_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    return load(path, mmap=True)


def write_tensor(path: Path, tensor: TensorMap) -> None:
    """Write a tensor in the layout that the suffix names."""
    _check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, tensor)


def _check_suffix(path: Path) -> None:
    if path.suffix not in TENSORS:
        raise ValueError(f"expected a file ending in {', '.join(TENSORS)}, got {path.name!r}")
