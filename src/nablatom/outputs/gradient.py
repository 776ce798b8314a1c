"""The gradient of any scalar output with respect to any input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.models.irreps import Irreps
from nablatom.outputs.compiled import Compiled, arranged, sized, slopes
from nablatom.outputs.derivatives import Model, chosen, leaf, makes_graph, returned, usable

__all__ = ["GradientOutput", "gradient"]

_INTEGERS = (
    AtomicDataDict.ATOM_TYPE_KEY,
    AtomicDataDict.ATOMIC_NUMBERS_KEY,
    AtomicDataDict.BATCH_KEY,
    AtomicDataDict.EDGE_CELL_SHIFT_KEY,
    AtomicDataDict.EDGE_INDEX_KEY,
    AtomicDataDict.NUM_NODES_KEY,
    AtomicDataDict.PBC_KEY,
)
_STRUCTURE = {
    AtomicDataDict.POSITIONS_KEY: Irreps("1o"),
    AtomicDataDict.CELL_KEY: Irreps("3x1o"),
    AtomicDataDict.EDGE_VECTORS_KEY: Irreps("1o"),
}
"""What every model reads, whether it says so or not."""


def gradient(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    of: str,
    wrt: str | Sequence[str],
    allow_unused: bool = False,
    create_graph: bool | None = None,
) -> dict[str, torch.Tensor]:
    """``d(of)/d(wrt)`` for each input, of its shape.

    The data stay as they are. With ``pos`` or ``cell`` among the inputs, edge vectors follow
    from them, also where the data have some already; the gradient with respect to ``cell`` is
    at fixed Cartesian positions.

    Parameters
    ----------
    of
        An output with one number for each frame.
    wrt
        Fields of the data, with real numbers.
    allow_unused
        Whether an input that the output does not depend on has a gradient of zero; otherwise
        it is an error.
    create_graph
        Whether the gradients are to be differentiable; by default if the model is being
        trained, or an input requires gradients.

    Raises
    ------
    KeyError
        If the data have no such field, or the model returns no such output.
    ValueError
        If the output has not one number for each frame, or a field holds integers.
    RuntimeError
        If the output does not depend on an input: names it.

    Examples
    --------
    >>> import torch
    >>> dipole = lambda data: {"energy": -(data["dipole"] * data["electric_field"]).sum(1)}
    >>> data = {
    ...     "pos": torch.zeros(1, 3),
    ...     "dipole": torch.tensor([[0.0, 0.0, 2.0]]),
    ...     "electric_field": torch.zeros(1, 3),
    ... }
    >>> gradient(dipole, data, of="energy", wrt="electric_field")
    {'electric_field': tensor([[-0., -0., -2.]])}
    """
    fields = [wrt] if isinstance(wrt, str) else list(wrt)
    graph = makes_graph(model, data) if create_graph is None else create_graph
    return _with_gradient(model, data, of, fields, allow_unused, graph)[1]


class GradientOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives the gradient of one of its outputs too, see :func:`gradient`.

    It can wrap itself, for gradients with respect to several inputs or higher derivatives.

    Parameters
    ----------
    func
        The model to wrap.
    of
        The output of the model to differentiate: a scalar, with irreps ``0e``, for each frame.
    wrt
        The input or inputs to differentiate by.
    out_field
        The field for the gradient, or one for each input; by default ``d(of)/d(wrt)``.
    sign
        1 or -1, by which the gradients are multiplied.
    allow_unused, create_graph
        As in :func:`gradient`.
    compile
        Whether model and gradient are compiled together, when they are first called. Compiled
        code does not know what is unused: there the gradient is zero.

    Raises
    ------
    TypeError
        If what is wrapped is no graph module.
    ValueError
        If the model has no such output or input, the output rotates or belongs to atoms, an
        input holds integers, or the names are not as many as the inputs, or taken.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> with_slopes = GradientOutput(argon, of="total_energy", wrt=["pos", "cell"])
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.4), cutoff=argon.cutoff)
    >>> with_slopes(data)["d(total_energy)/d(cell)"].shape
    torch.Size([1, 3, 3])
    >>> with_slopes.irreps_out["d(total_energy)/d(pos)"]
    1x1o
    """

    def __init__(
        self,
        func: GraphModuleMixin,
        of: str,
        wrt: str | Sequence[str],
        out_field: str | Sequence[str] | None = None,
        sign: float = 1.0,
        *,
        allow_unused: bool = False,
        create_graph: bool | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.func, self.of, self.wrt = func, of, _listed(wrt)
        self.out_field = _names(of, self.wrt, out_field)
        self.sign, self.allow_unused, self.create_graph = _sign(sign), allow_unused, create_graph
        self.compiled = Compiled(slopes) if compile else None
        given = outputs_of(func)
        check_scalar(given, of)
        inputs = _inputs(func, self.wrt)
        _check_new(self.out_field, {*given, *inputs})
        new = {name: inputs[field] for name, field in zip(self.out_field, self.wrt, strict=True)}
        self._init_irreps(func.irreps_in, inputs, irreps_out=given | new)
        self.cutoff, self.hops, self.type_names = func.cutoff, func.hops, func.type_names

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with the gradients, each of the shape of its input."""
        graph = self.create_graph
        if graph is None:
            graph = makes_graph(self, data)
        outputs, found = self._with_gradient(data, graph)
        for name, field in zip(self.out_field, self.wrt, strict=True):
            outputs[name] = self.sign * found[field]
        return outputs

    def _with_gradient(
        self, data: AtomicDataDict.Type, graph: bool
    ) -> tuple[AtomicDataDict.Type, dict[str, torch.Tensor]]:
        if self.compiled is None:
            return _with_gradient(self.func, data, self.of, self.wrt, self.allow_unused, graph)
        _check_inputs(data, self.wrt)
        with torch.inference_mode(False), torch.set_grad_enabled(graph):
            point = free_of_vectors(arranged(self.func, sized(data)), self.wrt)
            outputs, found = self.compiled(self.func, point, self.of, self.wrt)
        _check_frames(chosen(outputs, self.of), data, self.of)
        return returned(data | outputs, data, graph, *self.wrt), found


# -- checks at construction ---------------------------------------------------------------

Fields = Mapping[str, Irreps | None]


def outputs_of(func: GraphModuleMixin) -> dict[str, Irreps | None]:
    """The fields that a graph module gives; refuses what is none."""
    if not isinstance(func, GraphModuleMixin):
        raise TypeError(
            f"{type(func).__name__} is no graph module: derive it from GraphModuleMixin, and call "
            "_init_irreps in its constructor; for plain functions there are those of "
            "nablatom.outputs"
        )
    return dict(func.irreps_out)


def check_scalar(given: Fields, of: str) -> None:
    """Refuse to differentiate what is not there, rotates, or has a value for each atom."""
    if of not in given:
        raise ValueError(f"the model has no output {of!r}; it has {', '.join(sorted(given))}")
    if given[of] != Irreps("0e"):
        raise ValueError(f"only a scalar (0e) has a gradient here, and {of!r} is {given[of]}")
    rows = AtomicDataDict.ROWS.get(of, "frames")
    if rows != "frames":
        raise ValueError(
            f"{of!r} has a value for each of the {rows}, and a gradient is that of one number: "
            "sum it over each frame first, or take products with its Jacobian "
            "(nablatom.outputs.vjp, PartialForceOutput)"
        )


def _inputs(func: GraphModuleMixin, wrt: Sequence[str]) -> dict[str, Irreps | None]:
    """The irreps of what to differentiate by."""
    known = _STRUCTURE | dict(func.irreps_in)
    for field in wrt:
        if field in _INTEGERS:
            raise ValueError(f"{field!r} holds integers, there is no gradient with respect to it")
        if field not in known:
            raise ValueError(f"the model has no input {field!r}; it has {', '.join(sorted(known))}")
    return {field: known[field] for field in wrt}


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _names(of: str, wrt: Sequence[str], given: str | Sequence[str] | None) -> list[str]:
    names = [f"d({of})/d({field})" for field in wrt] if given is None else _listed(given)
    if not wrt or len(set(wrt)) < len(wrt) or len(set(names)) != len(wrt):
        raise ValueError(
            f"expected different inputs, and a different field for the gradient by each; "
            f"got the inputs {list(wrt)} and the fields {names}"
        )
    return names


def _check_new(names: Sequence[str], taken: Collection[str]) -> None:
    for name in names:
        if name in taken:
            raise ValueError(
                f"out_field {name!r} is a field that the model reads or gives; choose another name"
            )


def _sign(sign: float) -> float:
    if sign not in (1.0, -1.0):
        raise ValueError(f"sign is {sign}; expected 1 or -1")
    return float(sign)


# -- at run time --------------------------------------------------------------------------


def _with_gradient(
    model: Model,
    data: AtomicDataDict.Type,
    of: str,
    wrt: Sequence[str],
    allow_unused: bool,
    graph: bool,
) -> tuple[AtomicDataDict.Type, dict[str, torch.Tensor]]:
    _check_inputs(data, wrt)
    with torch.inference_mode(False), torch.enable_grad():
        point = free_of_vectors(data, wrt)
        leaves = {field: leaf(point[field], graph) for field in wrt}
        outputs = model(point | leaves)
        values = chosen(outputs, of)
        _check_frames(values, data, of)
        slopes = _slopes(values, leaves, of, allow_unused, graph)
    return returned(outputs, data, graph, *wrt), slopes


def free_of_vectors(data: AtomicDataDict.Type, wrt: Sequence[str]) -> AtomicDataDict.Type:
    """A copy in which edge vectors and lengths cannot hide that they move with the leaves."""
    derived: set[str] = set()
    if {AtomicDataDict.POSITIONS_KEY, AtomicDataDict.CELL_KEY} & set(wrt):
        derived = {AtomicDataDict.EDGE_VECTORS_KEY, AtomicDataDict.EDGE_LENGTH_KEY}
    elif AtomicDataDict.EDGE_VECTORS_KEY in wrt:
        derived = {AtomicDataDict.EDGE_LENGTH_KEY}
    return usable({key: x for key, x in data.items() if key not in derived - set(wrt)})


def _check_inputs(data: AtomicDataDict.Type, wrt: Sequence[str]) -> None:
    for field in wrt:
        if field not in data:
            raise KeyError(
                f"the data have no field {field!r} to differentiate by; they have "
                f"{', '.join(sorted(data))}"
            )
        if not data[field].is_floating_point():
            raise ValueError(f"cannot differentiate by {field!r}: it holds {data[field].dtype}")


def _check_frames(values: torch.Tensor, data: AtomicDataDict.Type, of: str) -> None:
    frames = AtomicDataDict.num_frames(data)
    if values.numel() != frames:
        raise ValueError(
            f"{of!r} has the shape {tuple(values.shape)}; expected one number for each frame, "
            f"({frames}, 1): sum it over each frame first"
        )


def _slopes(
    values: torch.Tensor,
    leaves: Mapping[str, torch.Tensor],
    of: str,
    allow_unused: bool,
    graph: bool,
) -> dict[str, torch.Tensor]:
    found: Sequence[torch.Tensor | None] = [None] * len(leaves)
    if values.requires_grad:
        found = torch.autograd.grad(
            values.sum(), list(leaves.values()), create_graph=graph, allow_unused=True
        )
    slopes = dict(zip(leaves, found, strict=True))
    unused = [field for field, slope in slopes.items() if slope is None]
    if unused and not allow_unused:
        raise RuntimeError(
            f"{of!r} does not depend on {', '.join(map(repr, unused))}: the model does not read "
            "it, detaches it, or computes under torch.no_grad; with allow_unused=True its "
            "gradient is zero"
        )
    return {
        field: torch.zeros_like(leaves[field]) if slope is None else slope
        for field, slope in slopes.items()
    }
