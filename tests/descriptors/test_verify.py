"""A check that detects nothing is a defect: every kind of wrong gradient has to fail."""

from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np
import pytest
from ase.build import bulk

from nablatom.block import TensorBlock
from nablatom.descriptors import verify_gradients
from nablatom.systems import strained_cells
from nablatom.tensor import TensorMap
from soap import power_spectrum, radial_spectrum

SPECTRUM = power_spectrum(cutoff=4.0, max_radial=2, max_angular=2)
STRUCTURES = strained_cells(6, "CuAu")


@dataclass
class Broken:
    """A descriptor whose stored gradient of one parameter was tampered with."""

    parameter: str
    tamper: Callable

    def __call__(self, structures, *, gradients=()):
        tensor = SPECTRUM(structures, gradients=gradients)
        blocks = [self.broken(block) for block in tensor.blocks()]
        return TensorMap(tensor.keys, blocks)

    def broken(self, block):
        result = TensorBlock(block.values, block.samples, block.components, block.properties)
        for name, gradient in block.gradients():
            if name == self.parameter:
                values = np.array(self.tamper(gradient.values.copy(), gradient.samples))
                gradient = TensorBlock(
                    values, gradient.samples, gradient.components, gradient.properties
                )
            result.add_gradient(name, gradient)
        return result


def swapped_axes(x, samples):
    return x[:, [1, 2, 0]]


def without_the_center(x, samples):
    """The commonest mistake: only neighbors move, the center does not."""
    own = np.linalg.norm(x.reshape(len(x), -1), axis=1)
    x[own == own.max()] = 0
    return x


def one_wrong_number(x, samples):
    x.flat[np.argmax(np.abs(x))] *= 1 + 1e-3
    return x


TAMPERS = {
    "sign": lambda x, samples: -x,
    "factor of two": lambda x, samples: 2 * x,
    "one part in a hundred thousand": lambda x, samples: x * (1 + 1e-5),
    "all zero": lambda x, samples: 0 * x,
    "NaN": lambda x, samples: x * np.nan,
    "infinity": lambda x, samples: x + np.inf,
    "axes swapped": swapped_axes,
}


@pytest.mark.parametrize("tamper", TAMPERS)
@pytest.mark.parametrize("parameter", ["positions", "strain", "cell"])
def test_wrong_gradients_fail_by_finite_differences(parameter, tamper):
    checks = verify_gradients(Broken(parameter, TAMPERS[tamper]), STRUCTURES, count=9)
    of_parameter = [check for check in checks if check.name == parameter]
    assert len(of_parameter) == 3
    failed = [check for check in of_parameter if not check.passed]
    assert failed
    for check in failed:
        assert check.error > check.tolerance
    others = [c for c in checks if c.name in {"positions", "strain", "cell"} - {parameter}]
    assert all(check.passed for check in others)


@pytest.mark.parametrize(
    ("parameter", "tamper", "identity"),
    [
        ("positions", without_the_center, "translation"),
        ("positions", one_wrong_number, "translation"),
        ("positions", one_wrong_number, "strain identity"),
        ("strain", one_wrong_number, "strain identity"),
        ("strain", TAMPERS["sign"], "strain identity"),
        ("strain", TAMPERS["NaN"], "strain identity"),
        ("positions", TAMPERS["NaN"], "translation"),
        ("cell", one_wrong_number, "strain identity"),
        ("cell", swapped_axes, "strain identity"),
        ("cell", TAMPERS["all zero"], "strain identity"),
    ],
)
def test_wrong_gradients_fail_the_identities(parameter, tamper, identity):
    """Also where a random finite difference would miss the one wrong number."""
    checks = verify_gradients(Broken(parameter, tamper), STRUCTURES, count=3)
    (check,) = [check for check in checks if check.name == identity]
    assert not check.passed


def test_right_gradients_pass_with_both_numbers():
    checks = verify_gradients(SPECTRUM, STRUCTURES, count=6)
    names = ["positions", "strain", "cell", "positions", "strain", "cell"]
    assert [check.name for check in checks] == [*names, "translation", "strain identity"]
    for check in checks:
        assert check.passed
        assert check.error == abs(check.stored - check.reference)
        assert 0 < check.tolerance < 1e-5
        assert 0 <= check.frame < len(STRUCTURES)
        assert "center_type" in check.place


def test_the_seed_decides():
    a, b, c = (verify_gradients(SPECTRUM, STRUCTURES, count=3, seed=s) for s in (1, 1, 2))
    assert a == b
    assert a != c


def test_kinks_of_a_narrow_cutoff_are_stepped_over():
    """Strain moves hundreds of neighbors through the two ends of a fade of 0.1 Å."""
    spectrum = radial_spectrum(cutoff=5.0, width=0.1, max_radial=3)
    checks = verify_gradients(spectrum, [bulk("Cu", cubic=True), *strained_cells(7)], count=12)
    assert all(check.passed for check in checks)
    assert max(check.tolerance for check in checks) < 1e-4


def test_structures_without_pairs_or_cell():
    structures = [ase.Atoms("Cu"), ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 2.5]])]
    checks = verify_gradients(SPECTRUM, structures, count=8)
    assert {check.name for check in checks} == {
        "positions",
        "strain",
        "translation",
        "strain identity",
    }
    assert all(check.passed for check in checks)


def test_identities_need_their_gradients():
    checks = verify_gradients(SPECTRUM, STRUCTURES, count=2, gradients=("positions", "strain"))
    assert [check.name for check in checks] == ["positions", "strain", "translation"]
    checks = verify_gradients(SPECTRUM, STRUCTURES, count=1, gradients=("strain",))
    assert [check.name for check in checks] == ["strain"]


def test_gradients_that_are_not_stored_are_named():
    def forgetful(structures, *, gradients=()):
        return SPECTRUM(structures, gradients=["positions"] if gradients else [])

    with pytest.raises(KeyError, match="no gradient 'strain'"):
        verify_gradients(forgetful, STRUCTURES, count=2)


def test_energies_per_structure_can_be_verified():
    from nablatom.operations import sum_over_samples

    def total(structures, *, gradients=()):
        return sum_over_samples(SPECTRUM(structures, gradients=gradients), "atom")

    assert all(check.passed for check in verify_gradients(total, STRUCTURES, count=3))


@pytest.mark.parametrize(("structures", "count"), [([], 3), (STRUCTURES, 0)])
def test_nothing_to_check_is_refused(structures, count):
    with pytest.raises(ValueError, match="at least one"):
        verify_gradients(SPECTRUM, structures, count=count)
