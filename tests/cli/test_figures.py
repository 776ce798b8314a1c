import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nablatom.train import Comparison

figures = pytest.importorskip("nablatom.cli.figures", exc_type=ImportError)


def comparison(count=50, spread=0.1, seed=0):
    random = np.random.default_rng(seed)
    reference = random.normal(size=count)
    predicted = reference + spread * random.normal(size=count)
    return Comparison("forces", "meV/Å", reference, predicted, np.arange(count))


PARTS = {"train": comparison(), "test": comparison(10, seed=1)}
CONSTANT = {"train": comparison(1, 0.0), "test": comparison(1, 0.0)}
FIGURES = {
    "parity": lambda: figures.parity(PARTS),
    "parity of one number": lambda: figures.parity(CONSTANT),
    "histogram": lambda: figures.histogram(PARTS),
    "histogram without errors": lambda: figures.histogram(CONSTANT),
    "sparsity": lambda: figures.sparsity(np.eye(5, dtype=bool)),
    "timings": lambda: figures.timings({"descriptor": 1.2, "fit": 0.3}),
    "scan": lambda: figures.scan({1e-9: 1e-3, 1e-8: 5e-4, 1e-7: 2e-3}, 1e-8),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_valid_svg(name):
    root = ET.fromstring(FIGURES[name]())
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 20
