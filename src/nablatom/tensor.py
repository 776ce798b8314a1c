"""TensorMap: blocks found by their keys, and everything that a map can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from nablatom import display, moving, tracing
from nablatom.block import TensorBlock
from nablatom.labels import Labels, LabelsEntry, listed_names

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Selection", "TensorMap"]

Selection = int | Labels | LabelsEntry | Mapping[str, int]
"""What picks blocks: an index, one row of labels, or values for some dimensions of the keys."""


class TensorMap:
    """Blocks found by their keys: a sparse tensor whose dense pieces are labelled.

    Parameters
    ----------
    keys
        One entry for each block.
    blocks
        All with the same names of samples, components, properties and gradients, and with
        values of one library, dtype and device. They are shared, not copied or moved.

    Raises
    ------
    ValueError
        If the number of blocks is not that of the keys, or if the blocks do not go together.

    Examples
    --------
    >>> import numpy as np
    >>> block = TensorBlock(np.ones((2, 1)), Labels.range("atom", 2), [], Labels.range("n", 1))
    >>> tensor = TensorMap(Labels(["center_type"], [[6], [8]]), [block, block.copy()])
    >>> print(tensor)
    TensorMap with 2 blocks
    keys: center_type
               6
               8
    >>> tensor.block(center_type=8).shape
    (2, 1)
    """

    __slots__ = ("_blocks", "_info", "_keys", "_memo")

    _keys: Labels
    _blocks: list[TensorBlock]
    _info: dict[str, str]
    _memo: dict[str, Any]

    def __init__(self, keys: Labels, blocks: Sequence[TensorBlock]) -> None:
        if not isinstance(keys, Labels):
            raise TypeError(f"keys must be Labels, got {type(keys).__name__}")
        self._keys, self._blocks, self._info, self._memo = keys, list(blocks), {}, {}
        if len(self._blocks) != len(keys):
            raise ValueError(f"there are {len(keys)} keys, but {len(self._blocks)} blocks")
        if not tracing.compiling():  # labels are constants then, and were checked before
            _check_alike(self)
        if self._blocks and not isinstance(self._blocks[0].values, np.ndarray):
            register(self)

    @classmethod
    def unchecked(
        cls, keys: Labels, blocks: list[TensorBlock], info: Mapping[str, str] | None = None
    ) -> TensorMap:
        """A map from parts that are known to fit together."""
        self = cls.__new__(cls)
        self._keys, self._blocks, self._info = keys, blocks, dict(info) if info else {}
        self._memo = {}
        if blocks and not isinstance(blocks[0].values, np.ndarray):
            register(self)
        return self

    # -- blocks by key -----------------------------------------------------------------

    @property
    def keys(self) -> Labels:
        """One entry for each block."""
        return self._keys

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[TensorBlock]:
        return iter(self._blocks)

    def items(self) -> Iterator[tuple[LabelsEntry, TensorBlock]]:
        """Each key with its block."""
        return zip(self._keys, self._blocks, strict=True)

    def block_by_id(self, index: int) -> TensorBlock:
        """The block at this index of the keys."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"no block {index}: this map has {len(self)} blocks")
        return self._blocks[index]

    def blocks_by_id(self, indices: Sequence[int]) -> list[TensorBlock]:
        """The blocks at these indices of the keys."""
        return [self.block_by_id(index) for index in indices]

    def blocks_matching(
        self, selection: Selection | Sequence[int] | None = None, **values: int
    ) -> list[int]:
        """The indices of the blocks that a selection picks; see :meth:`blocks`."""
        if selection is not None and values:
            raise ValueError("give either a selection or values by name, not both")
        if selection is None:
            selection = values
        if isinstance(selection, int | np.integer):
            return [int(selection)]
        if isinstance(selection, LabelsEntry):
            selection = dict(zip(selection.names, selection, strict=True))
        if isinstance(selection, Mapping):
            return self._matching(selection)
        if not isinstance(selection, Labels):
            return [int(index) for index in selection]
        if len(selection) != 1:
            raise ValueError(f"a selection of blocks has one entry, got {len(selection)}")
        return self._matching(dict(zip(selection.names, selection[0], strict=True)))

    def _matching(self, values: Mapping[str, int]) -> list[int]:
        return list(_matching(self._keys, tuple(values), tuple(values.values())))

    def blocks(
        self, selection: Selection | Sequence[int] | None = None, **values: int
    ) -> list[TensorBlock]:
        """All blocks, or those that a selection picks.

        Raises
        ------
        KeyError
            If there is a selection and it picks none.
        """
        if selection is None and not values:
            return list(self._blocks)
        found = self.blocks_matching(selection, **values)
        if not found:
            raise self._not_found(selection, values)
        return self.blocks_by_id(found)

    def block(self, selection: Selection | None = None, **values: int) -> TensorBlock:
        """The one block that a selection picks.

        Raises
        ------
        KeyError
            If there is none.
        ValueError
            If there are several, or if the keys do not have such a dimension.
        """
        found = self.blocks_matching(selection, **values)
        if not found:
            raise self._not_found(selection, values)
        if len(found) > 1:
            keys = display.in_line([self._keys[i].print() for i in found])
            raise ValueError(
                f"{len(found)} blocks match: {keys}; say which one, or take them all with blocks()"
            )
        return self.block_by_id(found[0])

    def _not_found(self, selection: object, values: Mapping[str, int]) -> KeyError:
        wanted = (
            LabelsEntry.unchecked(tuple(values), tuple(values.values())) if values else selection
        )
        keys = display.in_line([key.print() for key in self._keys])
        return KeyError(f"no block matches {wanted}; the keys are {keys}")

    def __getitem__(self, selection: Selection) -> TensorBlock:
        return self.block(selection)

    def loc(self, **selection: int | Sequence[int] | slice) -> TensorMap:
        """The blocks whose keys have these values, and the part of them that has.

        Parameters
        ----------
        **selection
            For dimensions of the keys, which choose blocks, and of samples, components or
            properties, which choose a part of every block, by name: a value, several values, or
            a slice *of values*, without its end. Blocks are shared, parts are views where their
            entries are evenly spaced. What is not there is not found, and no error.

        Raises
        ------
        ValueError
            If neither the keys nor the blocks have such a dimension.

        Examples
        --------
        >>> import numpy as np
        >>> block = TensorBlock(np.ones((2, 1)), Labels.range("atom", 2), [], Labels.single())
        >>> keys = Labels(["o3_lambda", "center_type"], [[0, 8], [1, 8], [2, 8], [0, 1]])
        >>> tensor = TensorMap(keys, [block] * 4)
        >>> print(tensor.loc(center_type=8, o3_lambda=[0, 1]))
        TensorMap with 2 blocks
        keys: o3_lambda  center_type
                  0           8
                  1           8
        >>> tensor.loc(o3_lambda=2, atom=1).block().shape
        (1, 1)
        """
        from nablatom.operations.queries import loc

        part: TensorMap = loc(self, selection)
        return part

    # -- names and information ---------------------------------------------------------

    def _first(self, what: str) -> TensorBlock:
        if not self._blocks:
            raise ValueError(f"a map without blocks has no {what}")
        return self._blocks[0]

    @property
    def sample_names(self) -> list[str]:
        """The names of the sample dimensions, the same in all blocks."""
        return self._blocks[0].samples.names if self._blocks else []

    @property
    def component_names(self) -> list[str]:
        """The names of the components, the same in all blocks."""
        return [c.names[0] for c in self._blocks[0].components] if self._blocks else []

    @property
    def property_names(self) -> list[str]:
        """The names of the property dimensions, the same in all blocks."""
        return self._blocks[0].properties.names if self._blocks else []

    @property
    def dtype(self) -> Any:
        """The dtype of the values, the same in all blocks."""
        return self._first("dtype").dtype

    @property
    def device(self) -> Any:
        """Where the values live, the same for all blocks."""
        return self._first("device").device

    def info(self) -> Mapping[str, str]:
        """Everything that is noted about this map: text by name."""
        return dict(self._info)

    def get_info(self, key: str) -> str | None:
        """What is noted under this name, or None."""
        return self._info.get(key)

    def set_info(self, key: str, value: str) -> None:
        """Note something about this map; operations and files carry it along."""
        for text in (key, value):
            if type(text) is not str:
                raise TypeError(f"info is text by name, got {key!r}: {value!r}")
        self._info[key] = value

    # -- moving keys, components and properties ----------------------------------------

    def keys_to_samples(
        self,
        keys_to_move: str | Sequence[str],
        *,
        fill_value: float = 0.0,
        sort_samples: bool = True,
    ) -> TensorMap:
        """Blocks merged along samples; the moved keys become the last sample dimensions.

        Parameters
        ----------
        fill_value
            For the entries that a block without some of the properties leaves open.
        sort_samples
            Sort the new samples, or else keep the order of the blocks.
        """
        moved = moving.keys_to_samples(
            self._keys,
            self._blocks,
            _listed(keys_to_move),
            fill=fill_value,
            sort=bool(sort_samples),
        )
        return TensorMap.unchecked(*moved, self._info)

    def keys_to_properties(
        self,
        keys_to_move: str | Sequence[str] | Labels,
        *,
        fill_value: float = 0.0,
        sort_samples: bool = True,
    ) -> TensorMap:
        """Blocks merged along properties; the moved keys become the first property dimensions.

        Parameters
        ----------
        keys_to_move
            Names of dimensions, or labels: then the result has properties for each of their
            entries, also where no block had it, in their order.
        fill_value
            For the samples that one of the merged blocks does not have.
        sort_samples
            Sort the new samples, or else keep the order in which they first appear.

        Raises
        ------
        ValueError
            If ``keys_to_move`` are labels and lack an entry of the keys, or if the blocks then
            have different properties.
        """
        names = keys_to_move if isinstance(keys_to_move, Labels) else _listed(keys_to_move)
        moved = moving.keys_to_properties(
            self._keys, self._blocks, names, fill=fill_value, sort=bool(sort_samples)
        )
        return TensorMap.unchecked(*moved, self._info)

    def components_to_properties(self, dimensions: str | Sequence[str]) -> TensorMap:
        """Components moved before the property dimensions, each in turn: the last comes first."""
        names = _listed(dimensions)
        for name in names:
            if self._blocks and name not in self.component_names:
                raise ValueError(f"no component {name!r} in the blocks: {self.component_names}")
        blocks = moving.components_to_properties(self._blocks, names)
        return TensorMap.unchecked(self._keys, blocks, self._info)

    # -- copies ------------------------------------------------------------------------

    def copy(self, deep: bool = True) -> TensorMap:
        """A copy with its own arrays, or, with ``deep=False``, one that shares them."""
        blocks = [block.copy(deep) for block in self._blocks]
        return TensorMap.unchecked(self._keys, blocks, self._info)

    def __copy__(self) -> TensorMap:
        return self.copy(deep=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorMap:
        return self.copy()

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, arrays: str | None = None
    ) -> TensorMap:
        """The same map with another dtype, on another device or in another library.

        See :meth:`TensorBlock.to`.
        """
        target = {"dtype": dtype, "device": device, "arrays": arrays}
        moved = TensorMap(self._keys, [block.to(*args, **target) for block in self._blocks])
        moved._info = dict(self._info)
        return moved

    def pin_memory(self) -> TensorMap:
        """A copy in page-locked memory, from which a GPU fetches without waiting."""
        return TensorMap.unchecked(self._keys, [b.pin_memory() for b in self._blocks], self._info)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorMap.unchecked, (self._keys, self._blocks, self._info)

    # -- arithmetic: the operations of nablatom.operations, by their signs ---------------

    def __add__(self, other: Any) -> TensorMap:
        return _operation("add", self, other)

    def __radd__(self, other: Any) -> TensorMap:
        return _operation("add", self, other)

    def __sub__(self, other: Any) -> TensorMap:
        return _operation("subtract", self, other)

    def __rsub__(self, other: Any) -> TensorMap:
        return _operation("subtract", other, self)

    def __mul__(self, other: Any) -> TensorMap:
        return _operation("multiply", self, other)

    def __rmul__(self, other: Any) -> TensorMap:
        return _operation("multiply", self, other)

    def __truediv__(self, other: Any) -> TensorMap:
        return _operation("divide", self, other)

    def __rtruediv__(self, other: Any) -> TensorMap:
        return _operation("divide", other, self)

    def __pow__(self, exponent: float) -> TensorMap:
        return _operation("pow", self, exponent)

    def __matmul__(self, other: TensorMap) -> TensorMap:
        return _operation("dot", self, other)

    def __neg__(self) -> TensorMap:
        return _operation("multiply", self, -1)

    def __pos__(self) -> TensorMap:
        return self

    def __abs__(self) -> TensorMap:
        return _operation("abs", self)

    # NumPy scalars on the left leave the operation to us.
    __array_ufunc__ = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorMap):
            return NotImplemented
        return _operation("equal", self, other)

    __hash__ = None  # type: ignore[assignment]  # the values can change

    # -- text and files ----------------------------------------------------------------

    def print(self, max_keys: int) -> str:
        """The keys in a table, at most ``max_keys`` of them (-1: all)."""
        return f"TensorMap with {len(self)} blocks\nkeys: {self._keys.print(max_keys, indent=6)}"

    def __str__(self) -> str:
        return self.print(40)

    def __repr__(self) -> str:
        return self.print(40)

    def _repr_html_(self) -> str:
        shown = display.shortened(len(self), 40)
        body = "".join(
            "<div>…</div>"
            if i is None
            else display.details(
                f"{self._keys[i].print()} → {self._blocks[i].summary()}",
                self._blocks[i]._repr_html_(),
            )
            for i in shown
        )
        return display.details(f"<b>TensorMap</b> with {len(self)} blocks", body, opened=True)

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write this map to a file; see :func:`nablatom.save`."""
        from nablatom import io

        io.save(file, self)

    def save_buffer(self) -> memoryview:
        """This map as the bytes of a file."""
        from nablatom import io

        return io.save_buffer(self)

    @staticmethod
    def load(file: str | PathLike[str] | BinaryIO) -> TensorMap:
        """Read a map from a file; see :func:`nablatom.load`."""
        from nablatom import io

        return io.load(file)

    @staticmethod
    def load_buffer(buffer: bytes | bytearray | memoryview) -> TensorMap:
        """Read a map from the bytes of a file."""
        from nablatom import io

        return io.load_buffer(buffer)


def _listed(names: str | Sequence[str]) -> list[str]:
    return list(listed_names(names))


def _operation(name: str, *operands: Any) -> Any:
    """An operation by its sign; the operations stand above the nouns, so it is looked up here."""
    from nablatom import operations

    return getattr(operations, name)(*operands)


@tracing.constant
def _matching(keys: Labels, names: tuple[str, ...], values: tuple[int, ...]) -> tuple[int, ...]:
    """The indices of the keys that have these values."""
    if set(names) == set(keys.names):
        position = keys.position([values[names.index(name)] for name in keys.names])
        return () if position is None else (position,)
    matching = np.ones(len(keys), bool)
    for name, value in zip(names, values, strict=True):
        matching &= keys.column(name) == value
    return tuple(np.flatnonzero(matching).tolist())


def _check_alike(tensor: TensorMap) -> None:
    """Raise an error unless all blocks have the same names, gradients, dtype and device."""
    for i, block in enumerate(tensor._blocks):
        if not isinstance(block, TensorBlock):
            raise TypeError(f"blocks must be TensorBlock, got {type(block).__name__} at index {i}")
        if i == 0:
            first = _structure(block)
        elif (here := _structure(block)) != first:
            axis = next(name for name in first if first[name] != here.get(name))
            raise ValueError(
                f"all blocks must have the same {axis}: block 0 has {first[axis]}, block {i} with "
                f"{tensor.keys[i].print()} has {here.get(axis)}"
            )


def _structure(block: TensorBlock, place: str = "") -> dict[str, Any]:
    """What blocks of one map share, by the name it has in an error."""
    names: dict[str, Any] = {
        f"array library{place}": type(block.values).__name__,
        f"dtype{place}": block.dtype,
        f"device{place}": str(block.device),
        f"sample names{place}": block.samples.names,
        f"component names{place}": [c.names[0] for c in block.components],
        f"property names{place}": block.properties.names,
        f"gradients{place}": sorted(block.gradients_list()),
    }
    for name, gradient in block.gradients():
        names.update(_structure(gradient, f" (of the gradient {name!r}{place})"))
    return names


def _flatten(tensor: TensorMap) -> tuple[list[TensorBlock], Any]:
    return tensor._blocks, (tensor._keys, tuple(tensor._info.items()))


def _unflatten(blocks: Any, context: Any) -> TensorMap:
    keys, info = context
    return TensorMap.unchecked(keys, list(blocks), dict(info))


def register(tensor: TensorMap | None = None) -> None:
    """Make maps known to torch, once torch is there, and name the keys of this one."""
    if not tracing.compiling():
        tracing.register_noun(TensorMap, _flatten, _unflatten)
        if tensor is not None:
            tensor._keys.mark()


register()
