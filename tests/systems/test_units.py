import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from nablatom.systems import read_structures, strained_cells
from nablatom.systems.units import check_units

from .test_targets import relabelled

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@cache
def data(name):
    """Crystals whose energies are large compared with their spread, as those of DFT are."""
    if name == "copper":
        return tuple(shifted(structure) for structure in strained_cells(40))
    path = DATA / f"{name}.extxyz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return tuple(read_structures(path, "::4"))


def shifted(structure):
    copy = structure.copy()
    labels = dict(structure.calc.results)
    labels["energy"] -= 50.0 * len(structure)
    copy.calc = SinglePointCalculator(copy, **labels)
    return copy


# Hartree, Rydberg, kcal/mol, kJ/mol; the same per bohr or Å; GPa, kbar, compression positive
UNITS = [
    ("energy", 1 / 27.2114),
    ("energy", 1 / 13.6057),
    ("energy", 23.06),
    ("energy", 96.485),
    ("forces", 1 / 51.422),
    ("forces", 23.06),
    ("forces", 96.485),
    ("stress", 160.22),
    ("stress", 1602.2),
    ("stress", -1.0),
]


@pytest.mark.parametrize("name", ["copper", "tial_329", "ethanol_200"])
@pytest.mark.parametrize(("label", "factor"), UNITS)
@pytest.mark.parametrize("share", [0.12, 0.35])
def test_mixed_units_are_found(name, label, factor, share):
    structures = list(data(name))
    if label not in structures[-1].calc.results:
        pytest.skip(f"{name} has no {label}")
    random = np.random.default_rng(0)
    changed = random.choice(len(structures), int(share * len(structures)), replace=False)
    for i in changed:
        structures[i] = relabelled(structures[i], **{label: factor})
    with pytest.raises(ValueError, match=f"mixed units: the {label}") as error:
        check_units(structures)
    frames = re.search(r"frame\(s\) ([\d, ]+)", str(error.value))
    named = {int(frame) for frame in re.findall(r"\d+", frames[1])}
    # Which side is the odd one is a matter of counting; both in one message would be wrong.
    assert named <= set(changed) or named.isdisjoint(changed)


@pytest.mark.parametrize("symbols", ["Cu", "CuAu"])
def test_ordinary_data_in_small_pieces_raises_no_alarm(symbols):
    structures = strained_cells(60, symbols)
    random = np.random.default_rng(0)
    for size in random.integers(1, 15, size=50):
        check_units([structures[i] for i in random.choice(len(structures), size)])


def test_one_unit_throughout_cannot_be_told():
    check_units([relabelled(s, energy=23.06, forces=23.06) for s in data("copper")])
