"""Atomic data mean what they mean to the nequip package."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what nequip's own dependencies do
    pytest.importorskip("nequip")
    from nequip.data import AtomicDataDict as Peer
    from nequip.data.ase import from_ase as peer_from_ase
    from nequip.data.transforms import NeighborListTransform
    from nequip.nn import with_edge_vectors_

from nablatom.models import AtomicDataDict  # noqa: E402
from nablatom.testing import example_structures  # noqa: E402

CUTOFF = 4.0


def test_fields_have_the_same_names():
    ours = {name: key for name, key in vars(AtomicDataDict).items() if name.endswith("_KEY")}
    shared = {name for name in ours if hasattr(Peer, name)}
    assert len(shared) > 20
    assert {name: getattr(Peer, name) for name in shared} == {name: ours[name] for name in shared}


def sorted_rows(data):
    """Every edge as a row: center, neighbor, vector, length."""
    columns = (data["edge_index"].T, data["edge_vectors"], data["edge_lengths"])
    rows = np.concatenate([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    return rows[np.lexsort(rows.round(6).T[::-1])]


@pytest.mark.parametrize("name", example_structures(["Cu", "Ag"]))
def test_edges_are_the_same(name):
    structure = example_structures(["Cu", "Ag"])[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            theirs = NeighborListTransform(r_max=CUTOFF)(peer_from_ase(structure))
        finally:
            torch.set_default_dtype(default)
        theirs = with_edge_vectors_(theirs, with_lengths=True)
    ours = AtomicDataDict.with_edge_vectors(AtomicDataDict.from_ase(structure, CUTOFF))
    for key in ("pos", "atomic_numbers", "pbc"):
        assert torch.equal(theirs[key].reshape(ours[key].shape), ours[key]), key
    assert theirs["edge_lengths"].shape == ours["edge_lengths"].shape
    np.testing.assert_allclose(sorted_rows(theirs), sorted_rows(ours), rtol=0, atol=1e-12)
    assert len(sorted_rows(ours)) > 0
