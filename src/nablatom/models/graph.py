"""Modules that take and give atomic data, and sequences of them.

A graph module says which fields it reads and writes, and how they rotate (their irreps).
Modules that do not fit together are refused when they are put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from nablatom.models.irreps import Irreps, IrrepsLike, irreps_of
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["GraphModuleMixin", "SequentialGraphNetwork"]

ALWAYS: Mapping[str, IrrepsLike] = {
    AtomicDataDict.POSITIONS_KEY: "1o",
    AtomicDataDict.EDGE_INDEX_KEY: None,
    AtomicDataDict.ATOM_TYPE_KEY: None,
}


class GraphModuleMixin:
    """A module whose ``forward`` takes atomic data and returns a new dictionary.

    Attributes
    ----------
    irreps_in, irreps_out
        Field → irreps, ``None`` for a field that does not rotate. What comes in goes out, with
        what the module itself writes.
    cutoff
        Å: longer edges have no influence. 0 for a module that sets no cutoff.
    hops
        How many edges away an atom can have an influence on the features or the energy of
        another: 1 for pair potentials, the number of layers for message passing.
    type_names
        Element symbols, in the order of ``atom_types``.
    """

    irreps_in: dict[str, Irreps | None]
    irreps_out: dict[str, Irreps | None]
    cutoff: float = 0.0
    hops: int = 0
    type_names: tuple[str, ...] = ()

    if TYPE_CHECKING:  # by torch.nn.Module, which the class that has this one has too

        def __call__(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
            """What ``forward`` gives."""

    def _init_irreps(
        self,
        irreps_in: Mapping[str, IrrepsLike] | None = None,
        my_irreps_in: Mapping[str, IrrepsLike] | None = None,
        required_irreps_in: Sequence[str] | None = None,
        irreps_out: Mapping[str, IrrepsLike] | None = None,
    ) -> None:
        """Set the irreps of what comes in and goes out; call it in ``__init__``.

        Parameters
        ----------
        irreps_in
            Of the fields that there are: the ``irreps_out`` of the module before.
        my_irreps_in
            Of the fields that this module reads.
        required_irreps_in
            Fields that this module reads, whatever their irreps.
        irreps_out
            Of the fields that this module writes.

        Raises
        ------
        ValueError
            Irreps are not what this module reads: names the field, both irreps, the module.
        KeyError
            A required field does not come in.
        """
        name = type(self).__name__
        given = irreps_of(irreps_in)
        for field, own in irreps_of({**(my_irreps_in or {}), **ALWAYS}).items():
            if given.setdefault(field, own) != own:
                raise ValueError(
                    f"{name} reads the field {field!r} as {_words(own)}, "
                    f"but it comes in as {_words(given[field])}"
                )
        for field in required_irreps_in or ():
            if field not in given:
                raise KeyError(
                    f"{name} reads the field {field!r}, which does not come in; "
                    f"there are {', '.join(given)}"
                )
        self.irreps_in = given
        self.irreps_out = {**given, **irreps_of(irreps_out)}


class SequentialGraphNetwork(GraphModuleMixin, torch.nn.Module):
    """Graph modules one after the other, each taking what the one before gives.

    Its cutoff is the longest of its modules', its ``hops`` the sum of theirs, and its types
    those of the modules that name some.

    Parameters
    ----------
    modules
        Named, or in order; then their names are ``module0``, ``module1`` …

    Raises
    ------
    ValueError
        A module takes a field with other irreps than it comes with, or modules name different
        types: names the field, both irreps, and both modules.
    TypeError
        A module is not a graph module.

    Examples
    --------
    >>> class Charge(GraphModuleMixin, torch.nn.Module):
    ...     def __init__(self, irreps_in=None):
    ...         super().__init__()
    ...         self._init_irreps(irreps_in, irreps_out={"node_features": "0e"})
    ...     def forward(self, data):
    ...         return {**data, "node_features": data["atom_types"].double()[:, None]}
    >>> network = SequentialGraphNetwork({"charge": Charge()})
    >>> network.irreps_out["node_features"]
    1x0e
    """

    def __init__(self, modules: Mapping[str, torch.nn.Module] | Iterable[torch.nn.Module]) -> None:
        super().__init__()
        if not isinstance(modules, Mapping):
            modules = {f"module{i}": module for i, module in enumerate(modules)}
        self._put(dict(modules))

    def append(self, name: str, module: torch.nn.Module) -> None:
        """Put a module at the end; irreps are checked as when a network is made.

        Raises
        ------
        ValueError
            The module does not fit, or another one has this name.
        TypeError
            It is not a graph module.

        Examples
        --------
        >>> from nablatom.models import NequIP, ZBL
        >>> network = SequentialGraphNetwork({"nequip": NequIP(["Si"], 4.0, features=4)})
        >>> network.append("repulsion", ZBL(["Si"], 4.0))
        >>> len(network)
        2
        """
        self._put_at(len(self), name, module)

    def insert(
        self,
        name: str,
        module: torch.nn.Module,
        after: str | None = None,
        before: str | None = None,
    ) -> None:
        """Put a module after or before the one of that name, as `append` does at the end.

        Raises
        ------
        ValueError
            The module does not fit, another one has this name, or not exactly one of ``after``
            and ``before`` is given.
        KeyError
            There is no module of that name.
        """
        if (after is None) is (before is None):
            raise ValueError(f"expected one of after and before, got {after!r} and {before!r}")
        place = after if before is None else before
        names = list(self._modules)
        if place not in names:
            raise KeyError(f"there is no module {place!r}; there are {', '.join(names)}")
        self._put_at(names.index(place) + (before is None), name, module)

    def _put_at(self, index: int, name: str, module: torch.nn.Module) -> None:
        if name in self._modules:
            raise ValueError(f"there is a module {name!r} already: {', '.join(self._modules)}")
        parts = list(zip(self._modules, self, strict=True))
        self._put(dict([*parts[:index], (name, module), *parts[index:]]))

    def _put(self, modules: dict[str, torch.nn.Module]) -> None:
        """Make these the modules; if they do not fit, the network stays as it is."""
        read, given = _chained(modules)
        types = _shared_types(modules)
        self._init_irreps(irreps_in=read, irreps_out=given)
        self._modules.clear()
        for name, module in modules.items():
            self.add_module(name, module)
        self.cutoff = max((getattr(module, "cutoff", 0.0) for module in self), default=0.0)
        self.hops = sum(getattr(module, "hops", 0) for module in self)
        self.type_names = types

    def __getitem__(self, index: int) -> torch.nn.Module:
        return list(self)[index]

    def __iter__(self) -> Iterator[torch.nn.Module]:
        return iter(list(self._modules.values()))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._modules)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data as the last module gives it."""
        for module in self:
            data = module(data)
        return data


Fields = dict[str, Irreps | None]


def _chained(modules: Mapping[str, torch.nn.Module]) -> tuple[Fields, Fields]:
    """What a sequence reads from outside, and what it gives in the end."""
    read: Fields = {}
    given: Fields = {}
    writer: dict[str, str] = {}
    for name, module in modules.items():
        label = f"{name} ({type(module).__name__})"
        if not isinstance(module, GraphModuleMixin):
            raise TypeError(
                f"{label} is not a graph module; derive it from GraphModuleMixin and call "
                "_init_irreps in its constructor"
            )
        for field, irreps in module.irreps_in.items():
            if given.get(field, irreps) != irreps:
                raise ValueError(
                    f"{label} reads the field {field!r} as {_words(irreps)}, "
                    f"but {writer[field]} gives it as {_words(given[field])}"
                )
        read |= {k: v for k, v in module.irreps_in.items() if k not in given}
        changed = {k: v for k, v in module.irreps_out.items() if given.get(k, v) != v}
        writer |= dict.fromkeys((*changed, *(module.irreps_out.keys() - given.keys())), label)
        given |= module.irreps_out
    return read, given


def _shared_types(modules: Mapping[str, torch.nn.Module]) -> tuple[str, ...]:
    """The types that all modules agree on."""
    named = {k: tuple(types) for k, m in modules.items() if (types := getattr(m, "type_names", ()))}
    first = next(iter(named), "")
    for name, types in named.items():
        if types != named[first]:
            raise ValueError(
                f"{name} ({type(modules[name]).__name__}) is for the types {', '.join(types)}, "
                f"but {first} ({type(modules[first]).__name__}) for {', '.join(named[first])}"
            )
    return named.get(first, ())


def _words(irreps: Irreps | None) -> str:
    return "no irreps (it does not rotate)" if irreps is None else str(irreps)
