"""TensorBlock: one dense array, labelled along every axis, with its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from nablatom import arrays, display, tracing
from nablatom.arrays import Array
from nablatom.labels import Labels, checked_names

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["TensorBlock"]


class TensorBlock:
    """Values with labels for their samples, components and properties, and their gradients.

    Parameters
    ----------
    values : (samples, *components, properties), any array library
        The numbers. They are not copied.
    samples, properties
        Labels with one entry for each row and for each column of the values.
    components
        Labels of one dimension each, one for each axis in between.

    Raises
    ------
    TypeError
        If the values are not an array, or the labels are not :class:`Labels`.
    ValueError
        If the shape of the values does not fit the labels.

    Examples
    --------
    >>> import numpy as np
    >>> block = TensorBlock(
    ...     np.array([[1.0], [2.0]]), Labels.range("system", 2), [], Labels.range("energy", 1)
    ... )
    >>> block.shape
    (2, 1)

    Each energy's derivative with respect to the position of each atom it depends on:

    >>> xyz = Labels.range("xyz", 3)
    >>> atoms = Labels(["sample", "system", "atom"], [[0, 0, 0], [1, 1, 0]])
    >>> gradient = TensorBlock(np.zeros((2, 3, 1)), atoms, [xyz], block.properties)
    >>> block.add_gradient("positions", gradient)
    >>> print(block)
    TensorBlock
        samples (2): ['system']
        components (): []
        properties (1): ['energy']
        gradients: ['positions']
    """

    __slots__ = (
        "_components",
        "_gradients",
        "_labelling",
        "_parameter",
        "_properties",
        "_samples",
        "_values",
    )

    _values: Array
    _samples: Labels
    _components: tuple[Labels, ...]
    _properties: Labels
    _gradients: dict[str, TensorBlock]
    _parameter: str
    _labelling: object | None

    def __init__(
        self, values: Array, samples: Labels, components: Sequence[Labels], properties: Labels
    ) -> None:
        if isinstance(components, Labels):
            raise TypeError("components must be a list of Labels, one for each axis; got Labels")
        components = tuple(components)
        if not tracing.compiling():  # labels are constants then, and were checked before
            _check_axes(values, samples, components, properties)
        self._values, self._samples = values, samples
        self._components, self._properties = components, properties
        self._gradients, self._parameter, self._labelling = {}, "", None
        if not isinstance(values, np.ndarray):
            register(self)

    @classmethod
    def unchecked(
        cls,
        values: Array,
        samples: Labels,
        components: Sequence[Labels],
        properties: Labels,
        gradients: dict[str, TensorBlock] | None = None,
    ) -> TensorBlock:
        """A block from parts that are known to fit together."""
        self = cls.__new__(cls)
        self._values, self._samples = values, samples
        self._components, self._properties = tuple(components), properties
        self._gradients, self._parameter, self._labelling = gradients or {}, "", None
        if gradients:
            for name, gradient in gradients.items():
                gradient._parameter = name
        if not isinstance(values, np.ndarray):
            _mark(self)
        return self

    # -- what it holds -----------------------------------------------------------------

    @property
    def values(self) -> Array:
        """The numbers, of shape ``(samples, *components, properties)``."""
        return self._values

    @values.setter
    def values(self, _: Array) -> None:
        raise AttributeError("values cannot be replaced; make a new TensorBlock with the new ones")

    @property
    def samples(self) -> Labels:
        """What the rows are."""
        return self._samples

    @property
    def components(self) -> list[Labels]:
        """What the axes between samples and properties are."""
        return list(self._components)

    @property
    def properties(self) -> Labels:
        """What the columns are."""
        return self._properties

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self._values.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of the values, in the terms of their library."""
        return self._values.dtype

    @property
    def device(self) -> Any:
        """Where the values live."""
        return "cpu" if isinstance(self._values, np.ndarray) else self._values.device

    def __len__(self) -> int:
        return len(self._values)

    def labelled_as(self, other: TensorBlock) -> bool:
        """Whether samples, components and properties are those of another block, in its order.

        Blocks that are found to be share a mark, by which they are known the next time.
        """
        if self._labelling is not None and self._labelling is other._labelling:
            return True
        if not (
            self._samples == other._samples
            and self._components == other._components
            and self._properties == other._properties
        ):
            return False
        if self._labelling is None:
            self._labelling = object()
        other._labelling = self._labelling
        return True

    def loc(self, **selection: int | Sequence[int] | slice) -> TensorBlock:
        """The part whose labels have these values: a view where they are evenly spaced.

        Parameters
        ----------
        **selection
            For dimensions of samples, components or properties by name: a value, several
            values, or a slice *of values*, without its end. The entries keep their order; what
            is not there is not found, and no error.

        Raises
        ------
        ValueError
            If no axis of the block has such a dimension, or more than one.

        Examples
        --------
        >>> import numpy as np
        >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [0, 2], [1, 0]])
        >>> block = TensorBlock(np.array([[0.0], [1.0], [2.0], [3.0]]), atoms, [], Labels.single())
        >>> block.loc(system=0, atom=slice(0, 2)).values
        array([[0.],
               [1.]])
        >>> block.loc(atom=[0, 7]).samples["system"]
        array([0, 1], dtype=int32)
        """
        from nablatom.operations.queries import loc

        part: TensorBlock = loc(self, selection)
        return part

    # -- gradients ---------------------------------------------------------------------

    def add_gradient(self, parameter: str, gradient: TensorBlock) -> None:
        """Store the derivatives of the values with respect to a parameter.

        ``gradient.samples`` start with the dimension ``sample``, the row of the values that
        each derivative belongs to; its components are the parameter's own followed by those
        of the values; its properties are those of the values.

        Raises
        ------
        ValueError
            If there is such a gradient already, or if the gradient does not fit the values;
            the message says in which axis.
        """
        checked_names(parameter)
        if parameter in self._gradients:
            raise ValueError(f"this block already has a gradient {parameter!r}")
        if not isinstance(gradient, TensorBlock):
            raise TypeError(f"a gradient is a TensorBlock, got {type(gradient).__name__}")
        if not tracing.compiling():
            _check_gradient(self, parameter, gradient)
        stored = TensorBlock.unchecked(
            gradient._values,
            gradient._samples,
            gradient._components,
            self._properties,
            gradient._gradients,
        )
        stored._parameter = parameter
        self._gradients[parameter] = stored

    def gradient(self, parameter: str) -> TensorBlock:
        """The stored derivatives with respect to this parameter.

        Raises
        ------
        KeyError
            If they are not stored.
        """
        try:
            return self._gradients[parameter]
        except KeyError:
            raise KeyError(
                f"no gradient {parameter!r}; stored: {', '.join(self._gradients) or 'none'}"
            ) from None

    def gradients(self) -> Iterator[tuple[str, TensorBlock]]:
        """The name and the block of each gradient, in the order they were added."""
        yield from self._gradients.items()

    def gradients_list(self) -> list[str]:
        """The names of the gradients, in the order they were added."""
        return list(self._gradients)

    def has_gradient(self, parameter: str) -> bool:
        """Whether the derivatives with respect to this parameter are stored."""
        return parameter in self._gradients

    def has_any_gradient(self) -> bool:
        """Whether any gradient is stored."""
        return bool(self._gradients)

    # -- copies ------------------------------------------------------------------------

    def _with(self, change: Any) -> TensorBlock:
        """The same labels around changed values, gradients included."""
        gradients = {name: g._with(change) for name, g in self._gradients.items()}
        return TensorBlock.unchecked(
            change(self._values), self._samples, self._components, self._properties, gradients
        )

    def copy(self, deep: bool = True) -> TensorBlock:
        """A copy with its own arrays, or, with ``deep=False``, one that shares them."""
        return self._with(arrays.copied if deep else lambda values: values)

    def __copy__(self) -> TensorBlock:
        return self.copy(deep=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorBlock:
        return self.copy()

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, arrays: str | None = None
    ) -> TensorBlock:
        """The same block with another dtype, on another device or in another library.

        Parameters
        ----------
        *args
            A dtype, a device or both, told apart by their type.
        arrays
            ``"numpy"`` or ``"torch"``.

        Raises
        ------
        ValueError
            If the library or the device is not one that can be had.
        """
        target = _target(args, dtype, device, arrays)
        moved = self._with(lambda values: _move(values, **target))
        if not isinstance(moved._values, np.ndarray):
            register()
        return moved

    def pin_memory(self) -> TensorBlock:
        """A copy in page-locked memory, from which a GPU fetches without waiting."""
        return self._with(arrays.pinned)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._values, self._samples, self._components, self._properties, self._gradients)
        return TensorBlock.unchecked, parts

    # -- comparison and display --------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorBlock):
            return NotImplemented
        return (
            self.labelled_as(other)
            and arrays.same_values(self._values, other._values)
            and self._gradients.keys() == other._gradients.keys()
            and all(g == other._gradients[name] for name, g in self._gradients.items())
        )

    __hash__ = None  # type: ignore[assignment]  # the values can change

    def __repr__(self) -> str:
        title = f"Gradient TensorBlock ('{self._parameter}')" if self._parameter else "TensorBlock"
        axes = [
            display.axis_line("samples", self.shape[:1], self._samples.names),
            display.axis_line(
                "components", self.shape[1:-1], [name for c in self._components for name in c.names]
            ),
            display.axis_line("properties", self.shape[-1:], self._properties.names),
            f"gradients: {self.gradients_list() or None}",
        ]
        return "\n    ".join([title, *axes])

    def _repr_html_(self) -> str:
        axes = [("samples", self._samples), *[("component", c) for c in self._components]]
        axes.append(("properties", self._properties))
        body = "".join(
            display.details(
                f"{axis}: {', '.join(labels.names)} ({len(labels)})", labels._repr_html_()
            )
            for axis, labels in axes
        )
        body += "".join(
            display.details(
                f"gradient <b>{name}</b>, {self.fill(name):.1%} of all rows", g._repr_html_()
            )
            for name, g in self._gradients.items()
        )
        return display.details(f"<b>{self.summary()}</b>", body)

    def summary(self) -> str:
        """Shape, dtype and gradients in one line."""
        names = f", gradients: {', '.join(self._gradients)}" if self._gradients else ""
        return f"TensorBlock {self.shape} {arrays.dtype_name(self._values)}{names}"

    def fill(self, parameter: str) -> float:
        """The fraction of all possible rows of a gradient that is stored.

        All possible rows are every sample of the values with everything, such as every atom,
        that the gradient samples name at all; where both say ``system``, of its own system.
        """
        samples = self.gradient(parameter).samples
        movers, _ = samples.unique(samples.names[1:])
        possible = len(self) * len(movers)
        if "system" in self._samples.names and "system" in movers.names:
            systems, atoms = np.unique(movers.column("system"), return_counts=True)
            shared = self._samples.column("system")
            shared = shared[np.isin(shared, systems)]
            possible = int(atoms[np.searchsorted(systems, shared)].sum())
        return len(samples) / max(1, possible)

    # -- files -------------------------------------------------------------------------

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write this block to a file; see :func:`nablatom.save`."""
        from nablatom import io

        io.save(file, self)

    def save_buffer(self) -> memoryview:
        """This block as the bytes of a file."""
        from nablatom import io

        return io.save_buffer(self)

    @staticmethod
    def load(file: str | PathLike[str] | BinaryIO) -> TensorBlock:
        """Read a block from a file."""
        from nablatom import io

        return io.load_block(file)

    @staticmethod
    def load_buffer(buffer: bytes | bytearray | memoryview) -> TensorBlock:
        """Read a block from the bytes of a file."""
        from nablatom import io

        return io.load_block_buffer(buffer)


_move = arrays.move


def _target(args: tuple[Any, ...], dtype: Any, device: Any, library: str | None) -> dict[str, Any]:
    """The one dtype and the one device among positional and named arguments."""
    for argument in args:
        if isinstance(argument, str) or type(argument).__name__ == "device":
            if device is not None:
                raise ValueError(f"two devices given: {device} and {argument}")
            device = argument
        elif dtype is not None:
            raise ValueError(f"two dtypes given: {dtype} and {argument}")
        else:
            dtype = argument
    return {"dtype": dtype, "device": device, "arrays": library}


def _check_axes(
    values: Array, samples: Labels, components: tuple[Labels, ...], properties: Labels
) -> None:
    if not arrays.is_array(values):
        raise TypeError(f"values must be an array (NumPy, torch, …), got {type(values).__name__}")
    axes = [("samples", samples), *[(f"component {i}", c) for i, c in enumerate(components)]]
    axes.append(("properties", properties))
    for axis, labels in axes:
        if not isinstance(labels, Labels):
            raise TypeError(f"{axis} must be Labels, got {type(labels).__name__}")
    shape = tuple(values.shape)
    if len(shape) != len(axes):
        raise ValueError(
            f"values have {len(shape)} axes, but there are labels for {len(axes)}: samples, "
            f"{len(components)} components and properties"
        )
    for size, (axis, labels) in zip(shape, axes, strict=True):
        if size != len(labels):
            raise ValueError(
                f"values have {size} entries along {axis}, but its labels have {len(labels)}; "
                f"the whole shape is {shape}"
            )
    names = [name for component in components for name in component._names]
    for i, component in enumerate(components):
        if len(component._names) != 1:
            raise ValueError(f"component {i} must have one dimension, got {component.names}")
    if len(set(names)) != len(names):
        raise ValueError(f"components must have different names, got {names}")


def _check_gradient(block: TensorBlock, parameter: str, gradient: TensorBlock) -> None:
    where = f"gradient {parameter!r}"
    names = gradient._samples._names
    if not names or names[0] != "sample":
        raise ValueError(f"{where}: samples must start with 'sample', got {list(names)}")
    rows = gradient._samples.values[:, 0]
    if len(rows) and (rows.min() < 0 or rows.max() >= len(block._samples)):
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(
            f"{where}: 'sample' counts rows of the values, from 0 to {len(block._samples) - 1}, "
            f"got {wrong}"
        )
    own = len(gradient._components) - len(block._components)
    if own < 0 or gradient._components[own:] != block._components:
        raise ValueError(
            f"{where}: components must end with those of the values, "
            f"{[c.names[0] for c in block._components]}, and have the same entries, "
            f"got {[c.names[0] for c in gradient._components]}"
        )
    if gradient._properties != block._properties:
        raise ValueError(f"{where}: properties must be those of the values")
    if type(gradient._values) is not type(block._values) or gradient.dtype != block.dtype:
        raise ValueError(
            f"{where}: values must be arrays of the same library and dtype, "
            f"{type(block._values).__name__} of {arrays.dtype_name(block._values)}, "
            f"got {type(gradient._values).__name__} of {arrays.dtype_name(gradient._values)}"
        )
    if gradient.device != block.device:
        raise ValueError(f"{where}: it lives on {gradient.device}, the values on {block.device}")


def _flatten(block: TensorBlock) -> tuple[list[Any], Any]:
    labels = (block._samples, block._components, block._properties, tuple(block._gradients))
    return [block._values, *block._gradients.values()], labels


def _unflatten(leaves: Any, labels: Any) -> TensorBlock:
    samples, components, properties, names = labels
    values, *gradients = leaves
    stored = dict(zip(names, gradients, strict=True))
    block = TensorBlock.unchecked(values, samples, components, properties)
    block._gradients = stored
    return block


def _mark(block: TensorBlock) -> None:
    """Name the labels of a block, so that torch can tell them from others when it traces."""
    if not tracing.compiling():
        for labels in (block._samples, *block._components, block._properties):
            if labels._token is None:
                labels.mark()


def register(block: TensorBlock | None = None) -> None:
    """Make blocks known to torch, once torch is there."""
    if not tracing.compiling():
        tracing.register_noun(Labels, lambda labels: ([], labels), lambda _, labels: labels)
        tracing.register_noun(TensorBlock, _flatten, _unflatten)
        if block is not None:
            _mark(block)


register()
