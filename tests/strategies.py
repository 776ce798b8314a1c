"""Labels and maps of every shape, for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from nablatom import Labels, TensorBlock, TensorMap

# Few different values, so that entries meet; negative, and not in order.
SMALL = st.integers(-2, 3)
UP_TO_TWO = st.integers(0, 2)


@st.composite
def labels(draw, names=("a", "b"), *, most=6, least=0, values=SMALL):
    row = st.tuples(*[values] * len(names))
    rows = draw(st.lists(row, unique=True, min_size=least, max_size=most))
    return Labels(names, np.reshape(np.array(rows, int), (-1, len(names))))


@st.composite
def maps(draw, *, components=UP_TO_TWO, same_properties=False, gradients=None, least=0):
    """Maps whose blocks may be empty, in any order, with sparse gradients."""
    keys = draw(labels(("key_1", "key_2"), least=1, most=4))
    axes = [draw(labels((name,), least=1, most=3)) for name in ("m", "s")[: draw(components)]]
    parameters = draw(st.sets(st.sampled_from(["positions", "strain"])))
    parameters = sorted(parameters) if gradients is None else gradients
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    shared = draw(labels(("n", "l"), least=least, most=4))
    blocks = []
    for _ in keys:
        samples = draw(labels(("system", "atom"), least=least, most=5))
        properties = shared if same_properties else draw(labels(("n", "l"), least=least, most=4))
        block = TensorBlock(_values(numbers, samples, axes, properties), samples, axes, properties)
        for parameter in parameters:
            block.add_gradient(parameter, draw(_gradients(block, parameter, numbers, least)))
        blocks.append(block)
    return TensorMap(keys, blocks)


def _values(numbers, samples, components, properties):
    """Without zeros, which numbers divided by."""
    shape = (len(samples), *map(len, components), len(properties))
    return numbers.uniform(0.5, 1.5, shape) * numbers.choice([-1, 1], shape)


@st.composite
def _gradients(draw, block, parameter, numbers, least):
    names, own = ("sample",), [Labels.range("row", 3), Labels.range("column", 2)]
    if parameter == "positions":
        names, own = ("sample", "system", "atom"), [Labels.range("xyz", 3)]
    sample = st.integers(0, max(0, len(block) - 1))
    row = st.tuples(sample, *[st.integers(-1, 1)] * (len(names) - 1))
    rows = draw(st.lists(row, unique=True, min_size=least, max_size=6)) if len(block) else []
    samples = Labels(names, np.reshape(np.array(rows, int), (-1, len(names))))
    axes = [*own, *block.components]
    return TensorBlock(
        _values(numbers, samples, axes, block.properties), samples, axes, block.properties
    )
