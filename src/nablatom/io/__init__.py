"""Bytes ⇄ maps, blocks and labels: the ``.mts`` files (also ``.npz``) that metatensor uses.

A file is a ZIP archive of stored ``.npy`` arrays. Ours are aligned to 64 bytes, so that they
can be mapped into memory; files go both ways between this library, metatensor and NumPy.
"""

from nablatom.io.files import (
    load,
    load_block,
    load_block_buffer,
    load_buffer,
    load_labels,
    load_labels_buffer,
    save,
    save_buffer,
)

__all__ = [
    "load",
    "load_block",
    "load_block_buffer",
    "load_buffer",
    "load_labels",
    "load_labels_buffer",
    "save",
    "save_buffer",
]
