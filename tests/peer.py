"""The same things in metatensor and here."""

import numpy as np
import pytest

from nablatom import Labels, TensorBlock, TensorMap

metatensor = pytest.importorskip("metatensor")


def labels_there(labels):
    return metatensor.Labels(labels.names, np.array(labels.values))


def labels_here(labels):
    return Labels(labels.names, np.array(labels.values))


def block_there(block, kind=metatensor.TensorBlock, labels=labels_there):
    result = kind(
        block.values.copy(),
        labels(block.samples),
        [labels(component) for component in block.components],
        labels(block.properties),
    )
    for name, gradient in block.gradients():
        result.add_gradient(name, block_there(gradient, kind, labels))
    return result


def there(tensor):
    blocks = [block_there(block) for block in tensor]
    return metatensor.TensorMap(labels_there(tensor.keys), blocks)


def here(tensor):
    blocks = [block_there(block, TensorBlock, labels_here) for block in tensor.blocks()]
    return TensorMap(labels_here(tensor.keys), blocks)
