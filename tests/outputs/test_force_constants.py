import numpy as np
import pytest
import torch
from ase.build import bulk

from nablatom.models import AtomicDataDict, StillingerWeber
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.force_constants import force_constants, write_force_constants
from nablatom.outputs.hessian import hessian
from response_models import Messages, crystal, data_of, small_cell

phonopy = pytest.importorskip("phonopy")

QPOINTS = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]]
TINY = 1e-3  # Å, so that third derivatives matter little


@pytest.fixture(scope="module")
def silicon():
    """Phonopy's finite displacements of a supercell, and what they are made of."""
    model = StillingerWeber.silicon()
    cell = bulk("Si", a=5.431)
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(
        symbols=cell.get_chemical_symbols(),
        cell=cell.cell[:],
        scaled_positions=cell.get_scaled_positions(),
    )
    phonon = phonopy.Phonopy(unit, supercell_matrix=[3, 3, 3], log_level=0)
    phonon.generate_displacements(distance=TINY)
    return model, phonon


def data_from(model, cell):
    structure = bulk("Si").__class__(
        cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True
    )
    return data_of(structure, model)


def frequencies(phonon):
    return np.array(phonon.run_qpoints(QPOINTS).frequencies)


def by_displacements(model, phonon):
    phonon.forces = [
        -pair_derivatives(model, data_from(model, cell)).positions.numpy()
        for cell in phonon.supercells_with_displacements
    ]
    phonon.produce_force_constants()
    return frequencies(phonon)


@pytest.mark.parametrize("name", ["FORCE_CONSTANTS", "force_constants.hdf5"])
@pytest.mark.parametrize("compact", [True, False])
def test_phonopy_reads_them_and_finds_the_frequencies_of_its_own(silicon, tmp_path, name, compact):
    from phonopy import file_IO

    if name.endswith("hdf5"):
        pytest.importorskip("h5py")
    model, phonon = silicon
    expected = by_displacements(model, phonon)
    rows = phonon.primitive.p2s_map if compact else None
    constants = force_constants(model, data_from(model, phonon.supercell), rows=rows)
    write_force_constants(tmp_path / name, constants, rows=rows)
    reads = {
        "FORCE_CONSTANTS": file_IO.parse_FORCE_CONSTANTS,
        "force_constants.hdf5": file_IO.read_force_constants_hdf5,
    }
    phonon.force_constants = reads[name](str(tmp_path / name), p2s_map=rows)
    np.testing.assert_allclose(phonon.force_constants, constants.numpy(), rtol=0, atol=1e-14)
    found = frequencies(phonon)
    # THz; differences of steps of 1e-3 Å, and phonopy symmetrizes them
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0, atol=1e-4)
    assert np.abs(found[0, :3]).max() < 1e-4  # sound
    np.testing.assert_allclose(found[0, 3:], expected[0, 3:], rtol=0, atol=1e-4)
    assert found[0, 3:].min() > 15


def test_they_are_the_hessian_atom_by_atom():
    model = Messages().eval()
    data = data_of(crystal(), model)
    constants, matrix = force_constants(model, data), hessian(model, data)
    assert constants[3, 5, 0, 2] == matrix[9, 17]
    torch.testing.assert_close(constants, constants.permute(1, 0, 3, 2), rtol=0, atol=1e-13)
    assert constants.sum(1).abs().max() < 1e-12
    assert torch.equal(force_constants(model, data, rows=[3]), constants[3:4])
    assert not force_constants(model.train(), data).requires_grad


def test_shapes_and_frames_that_do_not_fit(tmp_path):
    model = Messages().eval()
    frames = [data_of(make(), model) for make in (crystal, small_cell)]
    with pytest.raises(ValueError, match="one supercell; the data have 2 frames"):
        force_constants(model, AtomicDataDict.batched(frames))
    path = tmp_path / "FORCE_CONSTANTS"
    with pytest.raises(ValueError, match="there are 1 rows for 2 atoms: say which"):
        write_force_constants(path, np.zeros((1, 2, 3, 3)))
    with pytest.raises(ValueError, match="expected \\(rows, atoms, 3, 3\\)"):
        write_force_constants(path, np.zeros((6, 6)))
    with pytest.raises(ValueError, match="1 rows of force constants, but 2 atoms"):
        write_force_constants(path, np.zeros((1, 2, 3, 3)), rows=[0, 1])
    assert not path.exists()
