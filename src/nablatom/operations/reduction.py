"""Sums, means, variances and standard deviations over samples or properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations.lift import blockwise
from nablatom.operations.moments import (
    deviation,
    mean_of_properties,
    mean_of_samples,
    moments_of_properties,
    moments_of_samples,
    property_weights,
    reduced_labels,
    sample_weights,
    sum_of_properties,
    sum_of_samples,
    variance,
)

__all__ = [
    "mean_over_properties",
    "mean_over_samples",
    "std_over_properties",
    "std_over_samples",
    "sum_over_properties",
    "sum_over_samples",
    "var_over_properties",
    "var_over_samples",
]


# -- over samples ----------------------------------------------------------------------


@blockwise
def sum_over_samples(
    tensor: TensorBlock,
    sample_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The sum over some sample dimensions; the remaining ones label the result, sorted.

    ``y_k = sum_i w_i x_i`` over the samples ``i`` that agree in all dimensions but those
    named. Gradients add up as their values do, ``dy_k = sum_i (w_i dx_i + dw_i x_i)``: rows
    that come to differentiate the same sum with respect to the same thing become one. Over all
    dimensions, the one sample is ``_ = 0``.

    Parameters
    ----------
    sample_names
        The dimensions that are summed over.
    weights
        One number for each sample: an array of shape ``(samples,)``, or a block or map with the
        same samples, one property and no components, which may have gradients of its own.
    groups
        Labels that say what each sample belongs to: some dimensions of the samples, which find
        the sample, and others, which join those that label the result.

    Raises
    ------
    ValueError
        If the samples do not have one of the dimensions, if the weights do not fit them, or if
        a sample is not in ``groups``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> energies = TensorBlock(np.array([[1.0], [2.0], [5.0]]), atoms, [], Labels.single())
    >>> sum_over_samples(energies, "atom").values
    array([[3.],
           [5.]])

    Over the atoms of each molecule, where a third column says which one that is:

    >>> molecules = Labels(["system", "atom", "molecule"], [[0, 0, 7], [0, 1, 8], [1, 0, 7]])
    >>> print(sum_over_samples(energies, "atom", groups=molecules).samples)
    Labels(
        system  molecule
          0        7
          0        8
          1        7
    )
    """
    route = reduced_labels(tensor.samples, "sample", sample_names, groups)
    return sum_of_samples(tensor, route, sample_weights(tensor, weights))


@blockwise
def mean_over_samples(
    tensor: TensorBlock,
    sample_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The mean over some sample dimensions; the remaining ones label the result, sorted.

    ``m_k = sum_i w_i x_i / sum_i w_i``, with ``w_i = 1`` unless there are weights. Each
    gradient is that of the sum over the number of *samples* averaged, or over the sum of their
    weights, whether or not all of them have a gradient row. Arguments and errors are those of
    :func:`sum_over_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> charges = TensorBlock(np.array([[1.0], [2.0], [5.0]]), atoms, [], Labels.single())
    >>> mean_over_samples(charges, "atom", weights=np.array([3.0, 1.0, 1.0])).values
    array([[1.25],
           [5.  ]])
    """
    route = reduced_labels(tensor.samples, "sample", sample_names, groups)
    return mean_of_samples(tensor, route, sample_weights(tensor, weights))


@blockwise
def var_over_samples(
    tensor: TensorBlock,
    sample_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The variance over some sample dimensions; the remaining ones label the result, sorted.

    ``v_k = <(x_i - m_k)^2>``, where ``<…>`` is the mean of :func:`mean_over_samples` and
    ``m_k`` that of the values: the variance of the samples themselves, not an estimate of that
    of a population. Gradients are ``dv_k = 2 <(x_i - m_k) dx_i>``, and with weights that have
    gradients ``sum_i (x_i - m_k)^2 dw_i - v_k sum_i dw_i``, over ``sum_i w_i``, in addition.
    Arguments and errors are those of :func:`sum_over_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = TensorBlock(np.array([[1.0], [2.0], [5.0]]), atoms, [], Labels.single())
    >>> var_over_samples(block, "atom").values
    array([[0.25],
           [0.  ]])
    """
    route = reduced_labels(tensor.samples, "sample", sample_names, groups)
    return variance(moments_of_samples(tensor, route, weights))


@blockwise
def std_over_samples(
    tensor: TensorBlock,
    sample_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The standard deviation over some sample dimensions; the remaining ones label the result.

    ``s_k`` is the square root of the variance ``v_k`` of :func:`var_over_samples`. Gradients
    are ``ds_k = dv_k / (2 s_k)``; where ``s_k = 0`` and there is no derivative, they are zero.
    Arguments and errors are those of :func:`sum_over_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = TensorBlock(np.array([[1.0], [2.0], [5.0]]), atoms, [], Labels.single())
    >>> std_over_samples(block, "atom").values
    array([[0.5],
           [0. ]])
    """
    route = reduced_labels(tensor.samples, "sample", sample_names, groups)
    return deviation(moments_of_samples(tensor, route, weights))


# -- over properties -------------------------------------------------------------------


@blockwise
def sum_over_properties(
    tensor: TensorBlock,
    property_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The sum over some property dimensions; the remaining ones label the result, sorted.

    ``y_q = sum_p w_p x_p`` over the properties ``p`` that agree in all dimensions but those
    named; samples and components stay as they are. Gradients, and theirs, are summed like
    values. Over all dimensions, the one property is ``_ = 0``.

    Parameters
    ----------
    property_names
        The dimensions that are summed over.
    weights
        One number for each property: an array of shape ``(properties,)``, or a block or map
        with the same properties, one sample, no components and no gradients.
    groups
        Labels that say what each property belongs to: some dimensions of the properties, which
        find the property, and others, which join those that label the result.

    Raises
    ------
    ValueError
        If the properties do not have one of the dimensions, if the weights do not fit them, or
        if a property is not in ``groups``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> properties = Labels(["l", "n"], [[0, 0], [0, 1], [1, 0]])
    >>> atoms = Labels.range("atom", 1)
    >>> block = TensorBlock(np.array([[1.0, 2.0, 5.0]]), atoms, [], properties)
    >>> sum_over_properties(block, "n").values
    array([[3., 5.]])
    """
    route = reduced_labels(tensor.properties, "property", property_names, groups)
    return sum_of_properties(tensor, route, property_weights(tensor, weights))


@blockwise
def mean_over_properties(
    tensor: TensorBlock,
    property_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The mean over some property dimensions; the remaining ones label the result, sorted.

    ``m_q = sum_p w_p x_p / sum_p w_p``, with ``w_p = 1`` unless there are weights. Gradients,
    and theirs, are averaged like values. Arguments and errors are those of
    :func:`sum_over_properties`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> properties = Labels(["l", "n"], [[0, 0], [0, 1], [1, 0]])
    >>> atoms = Labels.range("atom", 1)
    >>> block = TensorBlock(np.array([[1.0, 2.0, 5.0]]), atoms, [], properties)
    >>> mean_over_properties(block, "n").values
    array([[1.5, 5. ]])
    """
    route = reduced_labels(tensor.properties, "property", property_names, groups)
    return mean_of_properties(tensor, route, property_weights(tensor, weights))


@blockwise
def var_over_properties(
    tensor: TensorBlock,
    property_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The variance over some property dimensions; the remaining ones label the result, sorted.

    ``v_q = <(x_p - m_q)^2>``, where ``<…>`` is the mean of :func:`mean_over_properties` and
    ``m_q`` that of the values. Gradients are ``dv_q = 2 <(x_p - m_q) dx_p>``. Arguments and
    errors are those of :func:`sum_over_properties`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> properties = Labels(["l", "n"], [[0, 0], [0, 1], [1, 0]])
    >>> atoms = Labels.range("atom", 1)
    >>> block = TensorBlock(np.array([[1.0, 2.0, 5.0]]), atoms, [], properties)
    >>> var_over_properties(block, "n").values
    array([[0.25, 0.  ]])
    """
    route = reduced_labels(tensor.properties, "property", property_names, groups)
    return variance(moments_of_properties(tensor, route, weights))


@blockwise
def std_over_properties(
    tensor: TensorBlock,
    property_names: str | Sequence[str],
    *,
    weights: Any = None,
    groups: Labels | None = None,
) -> TensorBlock:
    """The standard deviation over some property dimensions; the remaining ones label the result.

    ``s_q`` is the square root of the variance ``v_q`` of :func:`var_over_properties`. Gradients
    are ``ds_q = dv_q / (2 s_q)``; where ``s_q = 0`` and there is no derivative, they are zero.
    Arguments and errors are those of :func:`sum_over_properties`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> properties = Labels(["l", "n"], [[0, 0], [0, 1], [1, 0]])
    >>> atoms = Labels.range("atom", 1)
    >>> block = TensorBlock(np.array([[1.0, 2.0, 5.0]]), atoms, [], properties)
    >>> std_over_properties(block, "n").values
    array([[0.5, 0. ]])
    """
    route = reduced_labels(tensor.properties, "property", property_names, groups)
    return deviation(moments_of_properties(tensor, route, weights))
