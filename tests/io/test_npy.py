"""Headers: written for NumPy to read and aligned; read as NumPy and metatensor write them."""

import io

import numpy as np
import pytest

from nablatom.io import npy

SHAPES = [(), (0,), (5,), (3, 0, 2), (10**9, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("code", npy.DTYPES)
def test_header_means_what_it_was_packed_from(code, shape):
    dtype = np.dtype(code)
    header = npy.parse(npy.pack(npy.descr(dtype), shape, 0))
    assert header == (None, dtype, shape, False, dtype.itemsize * int(np.prod(shape)), True)


def test_payload_is_aligned_wherever_the_header_starts():
    for phase in range(64):
        header = npy.pack("'<f8'", (3, 4), phase)
        assert (phase + len(header)) % 64 == 0
        assert len(header) == npy.header_length(header)


@pytest.mark.parametrize("names", [("a",), ("system", "atom"), tuple(f"n{i}" for i in range(6000))])
def test_numpy_reads_labels_headers(names):
    rows = np.arange(2 * len(names), dtype="<i4").reshape(2, -1)
    file = npy.pack(npy.labels_descr(names), (2,), 17) + rows.tobytes()
    assert file[6] == (2 if len(names) == 6000 else 1)
    array = np.lib.format.read_array(io.BytesIO(file), max_header_size=10**6)
    assert array.dtype.names == names
    assert array[1].tolist() == tuple(rows[1])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("code", ["<f8", ">f8", "|b1", "|u1", ">c16", "<f2"])
def test_headers_written_by_numpy(code, order, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.zeros((2, 3), code, order=order), version=version)
    data = file.getvalue()
    header = npy.parse(data[: npy.header_length(data)])
    usual = order == "C" and code != ">f8" and code != ">c16"
    assert header == (
        None,
        np.dtype(code),
        (2, 3),
        order == "F",
        len(data) - npy.header_length(data),
        usual,
    )


SPACIOUS = """{ 'descr': [('center_type', '<i4'), ('neighbor_type', '<i4'), ],
 'fortran_order': False, 'shape': (5, ) }   \n"""
REORDERED = """{'shape':(5,),'descr':[('center_type','<i4'),('neighbor_type','<i4')],
'fortran_order':False}\n"""


@pytest.mark.parametrize("text", [SPACIOUS, REORDERED])
def test_spacing_and_order_of_the_header_are_free(text):
    header = npy.parse(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode())
    assert header.names == ("center_type", "neighbor_type")
    assert (header.shape, header.nbytes, header.is_usual) == ((5,), 40, True)


def header_of(descr="'<f8'", fortran="False", shape="(1,)", more=""):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, {more}}}\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


WRONG = {
    "it is no .npy": b"\x93NUMPX\1\0\0\0    ",
    "version 9.0": b"\x93NUMPY\x09\0\0\0    ",
    "cannot understand the .npy header ''": b"\x93NUMPY\1\0\0\0    ",
    "cannot understand the .npy header": header_of(more="'x': __import__('os')"),
    "dtype '<O8' is not one of f2": header_of("'<O8'"),
    "dtype '|V2' is not one of f2": header_of("'|V2'"),
    "dtype '<f4' is not one of i1": header_of("[('a', '<f4')]"),
    "expected different names": header_of("[('a', '<i4'), ('a', '<i4')]"),
    "of letters, digits and underscores": header_of("[('a b', '<i4')]"),
    "cannot understand fortran_order": header_of(fortran="(1,)"),
    "the shape .* is impossible": header_of(shape=f"({'9' * 5000},)"),
    "the shape '.1,1,.* is impossible": header_of(shape=f"({'1,' * 65})"),
    "invalid literal for int": header_of(shape="(1 2,)"),
}


@pytest.mark.parametrize("message", WRONG)
def test_other_headers_are_refused(message):
    header = WRONG[message]
    with pytest.raises(ValueError, match=message.replace("|", "[|]")):
        npy.parse(header[: npy.header_length(header)])
