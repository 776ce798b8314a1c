"""Layers for maps, and the data to train them with, in torch.

A layer holds one torch module for each key. Stored gradients go through it by the chain rule,
so that a model of energies is at once one of forces, and everything is differentiable with
respect to the parameters. Importing this package imports torch; nothing below it does.

``Linear``, ``LayerNorm``, ``ReLU``, ``SiLU``, ``Tanh``, ``Sequential``
    For every block.
``EquivariantLinear``, ``EquivariantTransformation``, ``InvariantLayerNorm``, ``Invariant…``
    For blocks that rotate, which have ``o3_lambda`` and ``o3_sigma`` in their keys.
``ModuleMap``
    Any torch modules, one for each key.
``Dataset``, ``IndexedDataset``, ``DataLoader``, ``group``, ``group_and_join``
    Samples, and batches of them.
``save_state``, ``load_state``
    Parameters with the labels they were made for.
"""

from nablatom.nn.activations import (
    InvariantReLU,
    InvariantSiLU,
    InvariantTanh,
    ReLU,
    SiLU,
    Tanh,
)
from nablatom.nn.dataset import Dataset, IndexedDataset
from nablatom.nn.equivariant import EquivariantTransformation
from nablatom.nn.layer_norm import InvariantLayerNorm, LayerNorm
from nablatom.nn.linear import EquivariantLinear, Linear
from nablatom.nn.loader import DataLoader, group, group_and_join
from nablatom.nn.module_map import ModuleMap, Sequential
from nablatom.nn.state import load_state, save_state

__all__ = [
    "DataLoader",
    "Dataset",
    "EquivariantLinear",
    "EquivariantTransformation",
    "IndexedDataset",
    "InvariantLayerNorm",
    "InvariantReLU",
    "InvariantSiLU",
    "InvariantTanh",
    "LayerNorm",
    "Linear",
    "ModuleMap",
    "ReLU",
    "Sequential",
    "SiLU",
    "Tanh",
    "group",
    "group_and_join",
    "load_state",
    "save_state",
]
