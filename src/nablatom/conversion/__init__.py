"""Maps and blocks ⇄ the data of other libraries, one thin file for each of them.

None of these libraries is needed, or imported, before its function is called.
"""

from nablatom.conversion.dlpack import from_dlpack, to_dlpack
from nablatom.conversion.metatensor import from_metatensor, to_metatensor
from nablatom.conversion.pandas import to_pandas
from nablatom.conversion.xarray import from_xarray, to_xarray

__all__ = [
    "from_dlpack",
    "from_metatensor",
    "from_xarray",
    "to_dlpack",
    "to_metatensor",
    "to_pandas",
    "to_xarray",
]
