import ase
import numpy as np
import pytest
from ase.build import molecule

from nablatom.descriptors import (
    Bispectrum,
    Cutoff,
    EquivariantPowerSpectrum,
    Gto,
    MixedTypes,
    SoapPowerSpectrum,
    SphericalExpansion,
    averaged,
    normalized,
    verify_gradients,
)

SMALL = {"cutoff": Cutoff(3.5, 1.5), "radial": Gto(1)}
DENSITY = SphericalExpansion(**SMALL, max_angular=1)
POWER = SoapPowerSpectrum(**SMALL, max_angular=1)
MIXED = MixedTypes(DENSITY, (1, 6, 8), [[1.0, 0.2], [0.5, -1.0], [0.3, 0.7]])
CALCULATORS = {"power": POWER, "expansion": DENSITY}
OPERATIONS = {"normalized": normalized, "averaged": averaged}


def methanol(seed=1):
    structure = molecule("CH3OH")
    structure.rattle(0.05, seed=seed)
    return structure


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", CALCULATORS)
def test_gradients_against_finite_differences(name, operation):
    def calculator(structures, *, gradients=()):
        return OPERATIONS[operation](CALCULATORS[name](structures, gradients))

    for check in verify_gradients(calculator, [methanol()], count=6):
        assert check.passed, check


def test_length_is_one_over_all_blocks():
    """An atom without neighbors and without itself has nothing to normalise."""
    structures = [methanol(), ase.Atoms("H", [[0, 0, 0]])]
    alone = SoapPowerSpectrum(**SMALL, max_angular=1, center_weight=0.0)
    total = np.zeros((2, 6))
    for block in normalized(alone(structures, ["positions"])).blocks():
        rows = block.samples["system"], block.samples["atom"]
        np.add.at(total, rows, (block.values**2).sum(axis=-1))
        assert np.isfinite(block.gradient("positions").values).all()
    np.testing.assert_allclose(total[0], 1, rtol=1e-13)
    assert total[1].tolist() == [0] * 6


def test_rows_of_normalised_gradients_are_those_of_all_blocks():
    tensor = POWER(methanol(), ["positions"])
    everything = {
        (tuple(block.samples.values[row[0]]), row[2])
        for block in tensor.blocks()
        for row in block.gradient("positions").samples.values.tolist()
    }
    for block in normalized(tensor).blocks():
        for sample in range(len(block)):
            rows = block.gradient("positions").samples
            mine = {atom for s, _, atom in rows.values.tolist() if s == sample}
            atom = tuple(block.samples.values[sample])
            assert mine == {other for center, other in everything if center == atom}


def test_means_count_all_atoms_of_a_structure():
    structures = [methanol(), molecule("H2O")]
    tensor = POWER(structures)
    for key, block in averaged(tensor).items():
        assert block.samples.names == ["system"]
        for system, row in zip(block.samples["system"], block.values, strict=True):
            expected = 0.0
            for old, part in tensor.items():
                if tuple(old)[1:] == tuple(key):
                    expected = expected + part.values[part.samples["system"] == system].sum(axis=0)
            np.testing.assert_allclose(row, expected / len(structures[system]), rtol=1e-13)


@pytest.mark.parametrize(
    "calculator",
    [MIXED, EquivariantPowerSpectrum(MIXED, max_lambda=1), Bispectrum(MIXED)],
    ids=lambda c: type(c).__name__,
)
def test_gradients_of_mixed_types(calculator):
    for check in verify_gradients(calculator, [methanol()], count=6):
        assert check.passed, check


def test_mixed_types_are_sums_of_expansions():
    structure, weights = methanol(), np.array(MIXED.weights)
    density = DENSITY(structure)
    for (l, sigma, center, channel), block in ((tuple(k), b) for k, b in MIXED(structure).items()):
        total = np.zeros(block.shape)
        for type_, weight in zip(MIXED.types, weights[:, channel], strict=True):
            part = density.block(
                o3_lambda=l, o3_sigma=sigma, center_type=center, neighbor_type=type_
            )
            rows = [block.samples.position(entry) for entry in part.samples]
            total[rows] += weight * part.values
        np.testing.assert_allclose(block.values, total, atol=1e-14)


def test_wrong_weights_are_named():
    with pytest.raises(ValueError, match="one row for each of 2 types"):
        MixedTypes(DENSITY, (1, 6), [[1.0]])
    with pytest.raises(ValueError, match=r"type \[8\] have no weights"):
        MixedTypes(DENSITY, (1, 6), [[1.0], [0.5]])(methanol())
