"""There and back, for every library; and what a table or a dataset says."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
from hypothesis import given

from maps import flat, tensor
from nablatom import Labels, TensorBlock, TensorMap, block_from_array, equal_raise
from nablatom.conversion import (
    from_dlpack,
    from_metatensor,
    from_xarray,
    to_dlpack,
    to_metatensor,
    to_pandas,
    to_xarray,
)
from nablatom.operations import detach, rename_dimension, requires_grad, slice, sum_over_samples
from strategies import maps


def with_peer(function):
    pytest.importorskip("metatensor")
    return from_metatensor(to_metatensor(function))


BACK = {
    "dlpack": lambda x: to_dlpack(to_dlpack(x, torch.from_dlpack), np.from_dlpack),
    "metatensor": with_peer,
    "xarray": lambda x: from_xarray(to_xarray(x)),
}
THINGS = {
    "a map": lambda: tensor(1, components=1),
    "gradients of gradients": lambda: tensor(1, components=2, nested=True),
    "a block": lambda: flat(1, components=1),
    "without gradients": lambda: flat(1, parameters=()),
    "energies": lambda: sum_over_samples(flat(1), "atom"),
    "single precision": lambda: tensor(1).to(dtype=np.float32),
    "no blocks": lambda: TensorMap(Labels.empty(["center_type", "neighbor_type"]), []),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("library", BACK)
def test_there_and_back(library, thing):
    before = THINGS[thing]()
    after = BACK[library](before)
    equal_raise(after, before)
    if isinstance(before, TensorMap):
        assert after.info() == before.info()


@pytest.mark.parametrize("library", BACK)
@given(maps())
def test_there_and_back_on_maps_of_every_shape(library, a):
    equal_raise(BACK[library](a), a)


# -- metatensor ------------------------------------------------------------------------


def test_labels_in_metatensor():
    metatensor = pytest.importorskip("metatensor")
    labels = Labels(["a", "b"], [[3, -1], [0, 2]])
    assert isinstance(to_metatensor(labels), metatensor.Labels)
    assert from_metatensor(to_metatensor(labels)) == labels


def test_torch_in_metatensor():
    pytest.importorskip("metatensor")
    a = tensor(1, library="torch")
    equal_raise(from_metatensor(to_metatensor(a)), a)


def test_arrays_in_metatensor_are_copies():
    pytest.importorskip("metatensor")
    a = flat(1)
    there = to_metatensor(a)
    back = from_metatensor(there)
    there.values[...] = np.nan
    equal_raise(back, flat(1))
    equal_raise(a, flat(1))


@pytest.mark.parametrize("convert", [to_metatensor, from_metatensor])
def test_what_metatensor_does_not_have(convert):
    pytest.importorskip("metatensor")
    with pytest.raises(TypeError, match=r"a TensorBlock or a TensorMap, got .*int"):
        convert(3)


@pytest.mark.parametrize("given", [3, None, "a map", [1.0]])
@pytest.mark.parametrize("library", ["dlpack", "pandas", "xarray"])
def test_what_is_neither_map_nor_block(library, given):
    convert = {"pandas": to_pandas, **BACK}[library]
    with pytest.raises(TypeError, match=f"TensorMap or a TensorBlock, got {type(given).__name__}"):
        convert(given)


@pytest.mark.parametrize("convert", [to_pandas, to_xarray])
def test_numbers_that_numpy_does_not_have(convert):
    block = flat(1, library="torch").to(dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"NumPy has no bfloat16; .*\.to\(dtype=torch.float32\)"):
        convert(block)


@pytest.mark.parametrize("thing", [x for x in THINGS if x != "single precision"])
@pytest.mark.parametrize("library", BACK)
def test_torch_there_and_back(library, thing):
    before = THINGS[thing]().to(arrays="torch")
    equal_raise(BACK[library](before).to(arrays="torch"), before)


# -- pandas ----------------------------------------------------------------------------


def test_a_row_for_each_number():
    block = flat(1, components=1)
    table = to_pandas(block)
    assert list(table.columns) == ["system", "atom", "o3_mu", "n", "value"]
    assert len(table) == block.values.size
    for i, sample in enumerate(block.samples):
        for m, mu in enumerate(block.components[0]["o3_mu"]):
            for q, n in enumerate(block.properties["n"]):
                found = table.query(
                    f"system == {sample['system']} and atom == {sample['atom']} "
                    f"and o3_mu == {mu} and n == {n}"
                )
                assert found["value"].tolist() == [block.values[i, m, q]]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_tables_of_a_map_are_one_table(library):
    a = tensor(1, library=library)
    tables = to_pandas(a)
    assert list(tables) == [tuple(key) for key in a.keys]
    sums = pd.concat(tables.values()).groupby(["center_type", "neighbor_type"])["value"].sum()
    for key, block in a.items():
        if len(block):
            np.testing.assert_allclose(sums[tuple(key)], float(block.values.sum()), rtol=1e-14)


def test_a_gradient_has_a_table_of_its_own():
    gradient = flat(1).gradient("positions")
    table = to_pandas(gradient)
    assert list(table.columns) == ["sample", "system", "atom", "xyz", "n", "value"]
    np.testing.assert_array_equal(table["value"], gradient.values.reshape(-1))


@pytest.mark.parametrize("convert", [to_pandas, to_xarray])
def test_the_same_name_twice(convert):
    block = rename_dimension(flat(1, parameters=()), "properties", "n", "atom")
    with pytest.raises(ValueError, match="'atom'; rename_dimension tells them apart"):
        convert(block)


# -- xarray ----------------------------------------------------------------------------


def test_selection_by_labels():
    block = flat(1, components=1)
    data = to_xarray(block)
    row = block.samples.position([0, 1])
    picked = data["values"].sel(system=0, atom=1, o3_mu=-1, n=2)
    assert picked.item() == block.values[row, 1, 0]
    assert data["values"].dims == ("samples", "o3_mu", "n")
    assert data["positions"].dims == ("positions.samples", "xyz", "o3_mu", "n")
    gradient = block.gradient("positions")
    sample = gradient.samples[2]
    names = {f"positions.{name}": sample[name] for name in gradient.samples.names}
    picked = data["positions"].sel(names).sel(xyz=1, o3_mu=0, n=-1)
    np.testing.assert_array_equal(picked.to_numpy(), gradient.values[2, 1, 0, 1])


def test_a_selection_comes_back():
    block = flat(1)
    data = to_xarray(block)
    columns = from_xarray(data.sel(n=[0, 2]))
    equal_raise(columns, slice(block, "properties", [2, 0]))
    with pytest.raises(ValueError, match="'sample' counts rows"):
        from_xarray(data.isel(samples=[0]))


def test_a_computation_comes_back():
    block = flat(1, parameters=())
    back = from_xarray(2 * to_xarray(block)["values"].rename("anything"))
    np.testing.assert_array_equal(back.values, 2 * block.values)
    assert back.samples == block.samples


def test_a_map_is_a_tree():
    a = tensor(1)
    tree = to_xarray(a)
    node = tree["center_type=1, neighbor_type=8"]
    np.testing.assert_array_equal(node["values"], a.block_by_id(1).values)
    del tree.attrs["keys"]
    assert from_xarray(tree).keys == a.keys
    del node.attrs["neighbor_type"]
    with pytest.raises(ValueError, match="'neighbor_type' is missing"):
        from_xarray(tree)


def test_any_array_of_xarray():
    data = xarray.DataArray(np.ones((2, 3, 4)), dims=["atom", "m", "n"], coords={"m": [-1, 0, 1]})
    block = from_xarray(data)
    assert block.samples == Labels.range("atom", 2)
    assert block.components == [Labels("m", [[-1], [0], [1]])]
    with pytest.raises(TypeError, match="must be integers, got float64"):
        from_xarray(data.assign_coords(m=[-0.5, 0.0, 0.5]))
    with pytest.raises(ValueError, match="two or more axes"):
        from_xarray(data[0, 0])
    with pytest.raises(ValueError, match="no variable 'values'"):
        from_xarray(xarray.Dataset({"energy": data}))
    with pytest.raises(TypeError, match="got ndarray"):
        from_xarray(np.ones((2, 2)))


def test_numpy_is_shared_with_xarray():
    block = block_from_array(np.zeros((2, 3)))
    to_xarray(block)["values"][...] = 1.0
    assert (block.values == 1.0).all()


# -- DLPack ----------------------------------------------------------------------------


def test_memory_is_shared_by_dlpack():
    a = flat(1)
    there = to_dlpack(a, torch.from_dlpack)
    there.values.zero_()
    there.gradient("positions").values.zero_()
    assert (a.values == 0).all()
    assert (a.gradient("positions").values == 0).all()


class Stranger:
    """An array of a library that nobody here knows."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


@pytest.mark.parametrize(("library", "kind"), [("numpy", np.ndarray), ("torch", torch.Tensor)])
def test_an_array_of_any_library(library, kind):
    array = np.arange(6.0).reshape(2, 3)
    samples, properties = Labels.range("atom", 2), Labels.range("n", 3)
    block = from_dlpack(Stranger(array), samples, [], properties, library=library)
    assert isinstance(block.values, kind)
    array[...] = 7.0
    assert (block.values == 7.0).all()


def test_arrays_that_dlpack_cannot_take():
    parts = (Labels.range("atom", 2), [], Labels.range("n", 3))
    with pytest.raises(TypeError, match="got list"):
        from_dlpack([[1.0]], *parts)
    with pytest.raises(ValueError, match="got 'jax'"):
        from_dlpack(np.ones((2, 3)), *parts, library="jax")
    with pytest.raises(ValueError, match="along samples"):
        from_dlpack(np.ones((3, 3)), *parts)
    live = requires_grad(flat(1, library="torch"))
    with pytest.raises(BufferError, match="require gradient"):
        to_dlpack(live, np.from_dlpack)
    assert isinstance(to_dlpack(detach(live), np.from_dlpack), TensorBlock)
