"""What importing nablatom brings along, and when torch gets to know the nouns."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "numba", "ase", "scipy", "matplotlib", "vesin", "typer", "rich", "pydantic"]


def run(code):
    """Run code in a fresh interpreter; its output."""
    result = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_is_light():
    code = f"import sys, nablatom; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == ""


def test_computing_with_numpy_stays_light():
    code = f"""
import sys
import numpy as np
from nablatom import Labels, TensorBlock, TensorMap, sum_over_samples
block = TensorBlock(np.ones((2, 1)), Labels.range("atom", 2), [], Labels.range("n", 1))
tensor = TensorMap(Labels.single(), [block])
print(sum_over_samples(tensor * 2, "atom").block().values, tensor)
assert not [m for m in {HEAVY} if m in sys.modules]
"""
    assert "4." in run(code)


ORDERS = {
    "torch first": "import torch, nablatom",
    "torch last": "import nablatom, torch",
    "submodule only": "import torch; from nablatom.block import TensorBlock",
}


@pytest.mark.parametrize("order", ORDERS)
def test_nouns_are_pytrees_whenever_torch_comes(order):
    pytest.importorskip("torch")
    code = f"""
{ORDERS[order]}
from nablatom import Labels, TensorBlock, TensorMap
from torch.utils._pytree import tree_map
block = TensorBlock(torch.ones(2, 1), Labels.range("atom", 2), [], Labels.range("n", 1))
tensor = TensorMap(Labels.single(), [block])
print(tree_map(lambda x: 3 * x, tensor).block().values.sum().item(), end=" ")
moved = TensorMap(Labels.single(), [block.to(arrays="numpy")]).to(arrays="torch")
print(tree_map(lambda x: 3 * x, moved).block().values.sum().item())
"""
    assert run(code) == "6.0 6.0"


def test_a_map_from_numpy_is_a_pytree_too():
    pytest.importorskip("torch")
    code = """
import numpy as np
from nablatom import Labels, TensorBlock, TensorMap
block = TensorBlock(np.ones((2, 1)), Labels.range("atom", 2), [], Labels.range("n", 1))
tensor = TensorMap(Labels.single(), [block]).to(arrays="torch")
from torch.utils._pytree import tree_leaves
print(len(tree_leaves(tensor)), type(tree_leaves(tensor)[0]).__name__)
"""
    assert run(code) == "1 Tensor"
