"""The tutorial on gradients of metatensor, line by line: the same values, the same print.

White space aside: the published pages and we do not lay out tables alike.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

import nablatom
from nablatom import Labels, TensorBlock, TensorMap, equal, multiply, pow
from nablatom.io import load

DESCRIPTION = """TensorBlock
    samples (2): ['system', 'atom']
    components (): []
    properties (3): ['n']
    gradients: ['positions']"""


@pytest.fixture
def radial(data):
    return load(data / "radial-spectrum.mts")


@pytest.fixture
def expansion(data):
    return load(data / "spherical-expansion.mts")


def words(thing):
    return str(thing).split()


def same_text(thing, *lines):
    assert words(thing) == " ".join(lines).split()


KEYS = """TensorMap with 5 blocks
    keys: center_type neighbor_type
    6 6
    6 8
    7 7
    8 6
    8 8"""
VALUES = [0.58644107, -0.15682146, 0.03612176]
SLOPES = np.array([0.17209336, 0.08442732, -0.09967984])
SIGNS = np.array([1, -1, 1, -1])


def test_where_gradients_are(radial):
    same_text(radial, KEYS)
    block = radial.block(center_type=7, neighbor_type=7)
    same_text(block, DESCRIPTION)
    gradient = block.gradient("positions")
    same_text(
        gradient,
        "Gradient TensorBlock ('positions')",
        "samples (4): ['sample', 'system', 'atom']",
        "components (3): ['xyz']",
        "properties (3): ['n']",
        "gradients: None",
    )
    same_text(gradient.samples, "Labels( sample system atom 0 0 4 0 0 5 1 0 4 1 0 5 )")
    same_text(block.samples, "Labels( system atom 0 4 0 5 )")
    same_text(gradient.components, "[Labels( xyz 0 1 2 )]")
    assert block.properties == gradient.properties
    expected = np.zeros((4, 3, 3))
    expected[:, 0] = SIGNS[:, None] * SLOPES
    # eight digits are printed
    np.testing.assert_allclose(gradient.values, expected, atol=1e-8)


def test_values_with_components(expansion):
    same_text(
        expansion,
        "TensorMap with 12 blocks",
        "keys: o3_lambda o3_sigma center_type neighbor_type",
        *[f"{l} 1 {a} {b}" for a in (6, 8) for b in (6, 8) for l in range(3)],
    )
    block = expansion.block(2)
    same_text(block.components, "[Labels( o3_mu -2 -1 0 1 2 )]")
    gradient = block.gradient("positions")
    same_text(
        gradient,
        "Gradient TensorBlock ('positions')",
        "samples (1): ['sample', 'system', 'atom']",
        "components (3, 5): ['xyz', 'o3_mu']",
        "properties (5): ['n']",
        "gradients: None",
    )
    same_text(gradient.components[0], "Labels( xyz 0 1 2 )")
    same_text(gradient.components[1], "Labels( o3_mu -2 -1 ... 1 2 )")


def compute_square(block):
    gradient = block.gradient("positions")
    result = TensorBlock(
        values=block.values**2,
        samples=block.samples,
        components=block.components,
        properties=block.properties,
    )
    values = 2.0 * block.values[gradient.samples["sample"], None, :] * gradient.values
    result.add_gradient(
        "positions",
        TensorBlock(
            values=values,
            samples=gradient.samples,
            components=gradient.components,
            properties=gradient.properties,
        ),
    )
    return result


def test_gradients_in_calculations(radial):
    same_text(radial.block(2).gradient("positions").samples["sample"], "[0 0 1 1]")
    squared = TensorMap(
        keys=radial.keys, blocks=[compute_square(block) for block in radial.blocks()]
    )
    same_text(squared, KEYS)
    before, after = radial.block(2), squared.block(2)
    same_text(before, DESCRIPTION)
    same_text(after, DESCRIPTION)
    np.testing.assert_allclose(before.values, [VALUES, VALUES], atol=1e-8)
    squares = [0.34391313, 0.02459297, 0.00130478]
    np.testing.assert_allclose(after.values, [squares, squares], atol=1e-8)
    slopes = np.array([0.20184523, -0.02648003, -0.00720122])
    np.testing.assert_allclose(
        after.gradient("positions").values[:, 0], SIGNS[:, None] * slopes, atol=1e-8
    )
    assert equal(multiply(radial, radial), squared)
    assert equal(pow(radial, 2), squared)


def test_the_example_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[1] / "examples" / "managing_gradients.py"
    made = runpy.run_path(str(example))
    printed = capsys.readouterr().out
    # the derivative with respect to the right atom of a pair is that by their distance
    low, mid, high = (made["radial_block"]([(0, 0, 1)], r) for r in (1.2 - 1e-6, 1.2, 1.2 + 1e-6))
    slope = (high.values - low.values) / 2e-6
    np.testing.assert_allclose(
        mid.gradient("positions").values[:, 0], [-slope[0], slope[0]], rtol=1e-8
    )
    assert "TensorMap with 3 blocks" in printed
    assert "Gradient TensorBlock ('positions')" in printed


def test_names_of_the_tutorial_are_at_the_top():
    for name in ("load", "multiply", "pow", "equal", "TensorBlock", "TensorMap"):
        assert hasattr(nablatom, name)
    assert nablatom.Labels is Labels
