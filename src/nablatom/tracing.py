"""Under ``torch.compile``, an operation is one step of the graph and its labels are constants.

Dynamo traces arrays, and labels are nothing to trace: they are what a graph is compiled *for*.
So a traceable operation hands its operands over as bare tensors and a description in plain
text and numbers, in which each set of labels is named by a digest of its entries. Dynamo
guards on that text (other labels: another graph), runs the operation as it is, and compiles
what it did to the tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from nablatom.labels import Labels

__all__ = ["compiling", "constant", "digest", "labels_named", "register_noun", "traceable"]

F = TypeVar("F", bound=Callable[..., Any])
Description = tuple[Any, ...]


def _never() -> bool:
    return False


# Replaced by torch's own answer once torch is imported: Dynamo folds that into a constant.
_is_compiling = _never
_nouns: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any, Any], Any]]] = {}
_known_to_torch: set[type] = set()


def compiling() -> bool:
    """Whether Dynamo is tracing the caller."""
    return _is_compiling()


# -- labels by name --------------------------------------------------------------------

_alive: WeakValueDictionary[str, Labels] = WeakValueDictionary()
# Labels that a graph was compiled for, or made: they live as long as compiled graphs may.
_kept: dict[str, Labels] = {}


def digest(labels: Labels) -> str:
    """A name that equal labels share and different ones do not."""
    from hashlib import blake2b  # loads OpenSSL, which nothing else here needs

    entries = blake2b(labels.values.tobytes(), digest_size=16).hexdigest()
    name = f"{','.join(labels.names)}:{entries}"
    if (first := _alive.setdefault(name, labels)) is not labels:
        labels._memo["equal"] = first  # so that the name is known while any of them lives
    return name


def labels_named(name: str) -> Labels:
    """The labels with this digest."""
    return _kept[name] if name in _kept else _alive[name]


def _at_trace(function: F) -> F:
    """Let Dynamo call a function while it traces and take the result for a constant."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def _stand_in(name: str) -> Labels:
    """Labels that know their name, and fetch their entries when they are first asked for them."""
    stand_in: Labels = _nouns["Labels"][0].stand_in(name)  # type: ignore[attr-defined]
    return stand_in


@_at_trace
def _keep(name: str) -> int:
    _kept[name] = labels_named(name)
    return len(_kept)


@_at_trace
def _keep_labels(labels: Labels) -> str:
    name = digest(labels)
    _kept[name] = labels
    return name


def _name(labels: Labels) -> str:
    """The digest of labels, in code that Dynamo traces."""
    if labels._token is None:
        return _keep_labels(labels) + ""  # a new string, of which Dynamo knows no source
    _keep(labels._token)
    return labels._token


# -- operations ------------------------------------------------------------------------


class _Bundle:
    """Bare tensors, and in plain text what they are the parts of."""

    __slots__ = ("description", "tensors")

    def __init__(self, tensors: list[Any], description: Description) -> None:
        self.tensors, self.description = tensors, description


def register_noun(
    noun: type, flatten: Callable[[Any], Any], unflatten: Callable[[Any, Any], Any]
) -> None:
    """Let operations on this noun be traced, and torch take it apart as a pytree.

    ``flatten`` gives the children and a context of labels and text, ``unflatten`` makes the
    noun from them. torch is told if it is imported, and otherwise when this is called again.
    """
    global _is_compiling  # noqa: PLW0603
    if noun in _known_to_torch:
        return
    _nouns[noun.__name__] = (noun, flatten, unflatten)
    if (torch := sys.modules.get("torch")) is None:
        return
    from torch.utils import _pytree

    _is_compiling = torch.compiler.is_dynamo_compiling
    bundle = (_Bundle, lambda b: (b.tensors, b.description), lambda t, d: _Bundle(list(t), d))
    for kind, take_apart, put_together in ((noun, flatten, unflatten), bundle):
        if kind not in _pytree.SUPPORTED_NODES:
            _pytree.register_pytree_node(
                kind,
                take_apart,
                put_together,
                serialized_type_name=f"nablatom.{kind.__name__}",
            )
    _known_to_torch.add(noun)


def traceable(operation: F) -> F:
    """Make one step of an operation on nouns when ``torch.compile`` traces it."""

    def step(tensors: list[Any], description: Description) -> _Bundle:
        operands, options = _restored(description, iter(tensors), labels_named)
        parts: list[Any] = []
        result = _described(operation(*operands, **options), parts, _keep_labels)
        return _Bundle(parts, result)

    @_at_trace
    def admit() -> int:
        from torch._dynamo import trace_rules

        trace_rules._allowed_callable_ids.add(id(step))
        trace_rules._nonstrict_trace_callable_ids.add(id(step))
        return id(step)

    @wraps(operation)
    def call(*operands: Any, **options: Any) -> Any:
        if not compiling():
            return operation(*operands, **options)
        admit()
        tensors: list[Any] = []
        bundle = step(tensors, _described((operands, options), tensors, _name))
        return _restored(bundle.description, iter(bundle.tensors), _stand_in)

    return call  # type: ignore[return-value]


def constant(query: F) -> F:
    """Make a constant of what a function of labels and plain values returns, when traced."""

    @_at_trace
    def at_trace(name: str, *values: Any) -> Any:
        return query(labels_named(name), *values)

    @wraps(query)
    def call(labels: Labels, *values: Any) -> Any:
        return at_trace(_name(labels), *values) if compiling() else query(labels, *values)

    return call  # type: ignore[return-value]


def _described(x: Any, tensors: list[Any], name: Callable[[Any], str]) -> Description:
    """What something is, in plain text and numbers; its tensors are added to the list."""
    # names are written out: Dynamo does not take the name of a type for a constant
    for noun, (kind, flatten, _) in _nouns.items():
        if not isinstance(x, kind):
            continue
        if noun == "Labels":
            return ("labels", name(x))
        children, context = flatten(x)
        inside = _described(list(children), tensors, name)
        return ("noun", noun, inside, _described(context, tensors, name))
    if isinstance(x, list | tuple):
        items = tuple([_described(item, tensors, name) for item in x])
        return ("list" if isinstance(x, list) else "tuple", items)
    if isinstance(x, dict):
        return ("dict", tuple(x), tuple([_described(item, tensors, name) for item in x.values()]))
    if hasattr(x, "requires_grad"):
        tensors.append(x)
        return ("tensor",)
    # Dynamo does not take None for something plain
    return ("none",) if x is None else ("plain", x)


def _restored(
    description: Description, tensors: Iterator[Any], labels: Callable[[str], Any]
) -> Any:
    """The thing described."""
    kind = description[0]
    if kind == "noun":
        _, noun, inside, context = description
        children = _restored(inside, tensors, labels)
        return _nouns[noun][2](children, _restored(context, tensors, labels))
    if kind == "labels":
        return labels(description[1])
    if kind == "dict":
        items = [_restored(item, tensors, labels) for item in description[2]]
        return dict(zip(description[1], items, strict=True))
    if kind in ("list", "tuple"):
        items = [_restored(item, tensors, labels) for item in description[1]]
        return items if kind == "list" else tuple(items)
    if kind == "tensor":
        return next(tensors)
    return None if kind == "none" else description[1]
