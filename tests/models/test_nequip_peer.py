"""With the same weights, the energies, forces and stresses of the nequip package."""

from functools import cache

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from nablatom.models import AtomicDataDict, from_nequip_state
from nablatom.outputs.derivatives import pair_derivatives
from nequip_peer import nequip_model, nequip_results, twins

CUTOFF = 3.6
TYPES = ("Si", "O", "C")
BASE = {
    "cutoff": CUTOFF,
    "layers": 3,
    "l_max": 1,
    "features": 4,
    "parity": True,
    "average_neighbors": 9.0,
    "scales": 1.7,
    "shifts": -0.3,
    "radial_hidden": (8,),
}
PEER = {
    "r_max": CUTOFF,
    "num_layers": 3,
    "l_max": 1,
    "num_features": 4,
    "radial_mlp_width": 8,
    "avg_num_neighbors": 9.0,
}
SETTINGS = {
    "l_max 1": {},
    "l_max 1, one parity": {"parity": False},
    "l_max 2": {"l_max": 2},
    "l_max 2, one parity": {"l_max": 2, "parity": False},
    "l_max 3": {"l_max": 3, "features": 2, "layers": 2},
    "l_max 0": {"l_max": 0},
    "one layer": {"layers": 1},
    "other widths": {"l_max": 2, "features": (5, 3, 2), "type_features": 6},
    "deep": {"radial_hidden": (8, 8), "readout_hidden": (6,)},
    "radial": {"radial_functions": 5, "cutoff_power": 3},
    "by type": {
        "average_neighbors": {"Si": 9.0, "O": 4.0, "C": 2.5},
        "scales": {"Si": 1.0, "O": 0.5, "C": 2.0},
        "shifts": {"Si": -1.0, "O": 0.3, "C": 0.1},
    },
    "zbl": {"zbl": True},
}


def crystal():
    """A skewed cell, smaller than twice the cutoff, disordered."""
    atoms = bulk("Si", "diamond", 5.4) * (2, 1, 1)
    skew = np.eye(3) + 0.05 * np.arange(9).reshape(3, 3) / 8
    atoms.set_cell(atoms.cell @ skew, scale_atoms=True)
    atoms.symbols = "SiOSiC"
    atoms.rattle(0.15, seed=3)
    return atoms


def cluster():
    atoms = molecule("CH3CH2OH")
    atoms.symbols = "SiOCSiOCSiOC"
    return atoms


def assert_same(name, ours, theirs, relative):
    theirs = theirs.detach()
    scale = theirs.abs().max()
    error = float((ours - theirs).abs().max() / scale)
    assert float(scale) > 1e-3, f"{name} are too small to compare: {float(scale)}"
    assert error < relative, f"{name} differ by {error} of {float(scale)}"


@pytest.mark.parametrize("structure", [crystal, cluster])
@pytest.mark.parametrize("name", SETTINGS)
def test_energies_forces_and_stress(name, structure):
    atoms = structure()
    ours, theirs = twins(TYPES, **(BASE | SETTINGS[name]))
    data = AtomicDataDict.from_ase(atoms, cutoff=CUTOFF, types=TYPES)
    found, expected = pair_derivatives(ours, data), nequip_results(theirs, data)
    assert_same("energies", found.outputs["atomic_energy"], expected["atomic_energy"], 1e-12)
    assert_same("forces", -found.positions, expected["forces"], 1e-12)
    if atoms.pbc.any():
        virial = atoms.get_volume() * expected["stress"]
        assert_same("virials", (found.strain + found.strain.mT) / 2, virial, 1e-12)


@pytest.mark.parametrize("types", [("Si",), ("Si", "O")], ids="-".join)
def test_numbers_of_types(types):
    ours, theirs = twins(types, **BASE)
    atoms = bulk("Si", "diamond", 5.4)
    atoms.symbols = ["Si", types[-1]]
    atoms.rattle(0.15, seed=3)
    data = AtomicDataDict.from_ase(atoms, cutoff=CUTOFF, types=types)
    found, expected = pair_derivatives(ours, data), nequip_results(theirs, data)
    assert_same("forces", -found.positions, expected["forces"], 1e-12)


def test_batches():
    ours, theirs = twins(TYPES, **BASE)
    frames = [crystal(), cluster(), ase.Atoms("O", [[0, 0, 0]])]
    data = AtomicDataDict.batched(
        [AtomicDataDict.from_ase(frame, cutoff=CUTOFF, types=TYPES) for frame in frames]
    )
    found, expected = pair_derivatives(ours, data), nequip_results(theirs, data)
    assert_same("energies", found.outputs["total_energy"], expected["total_energy"], 1e-12)
    assert_same("forces", -found.positions, expected["forces"], 1e-12)


def test_single_precision():
    """Of the weights; positions and energies have double precision, as there."""
    ours, theirs = twins(TYPES, dtype="float32", **BASE)
    data = AtomicDataDict.from_ase(crystal(), cutoff=CUTOFF, types=TYPES)
    found, expected = pair_derivatives(ours, data), nequip_results(theirs, data)
    assert found.outputs["total_energy"].dtype == torch.float64
    assert_same("energies", found.outputs["atomic_energy"], expected["atomic_energy"], 1e-5)
    assert_same("forces", -found.positions, expected["forces"], 1e-5)


MISTAKES = {
    "cutoff": ({"cutoff": 4.0}, "for a cutoff of 3.6, not 4"),
    "repulsion": ({"zbl": True}, "set zbl=False"),
    "types": ({"types": ("Si", "O")}, r"type_embed.* has shape \(3, 4\); .*ask for \(2, 4\)"),
    "wider": ({"features": 5}, r"has shape \(3, 4\); these settings ask for \(3, 5\)"),
    "layers": ({"layers": 4}, "no weight .*layer2_convnet.conv.sc|layer2_convnet"),
    "fewer layers": ({"layers": 2, "l_max": 0}, "layer0_convnet"),
    "l_max": ({"l_max": 2}, "layer0_convnet"),
}


@cache
def peer_state():
    return nequip_model(TYPES, **PEER).state_dict()


@pytest.mark.parametrize("name", MISTAKES)
def test_settings_that_the_weights_are_not_for(name):
    change, told = MISTAKES[name]
    with pytest.raises(ValueError, match=told):
        from_nequip_state(peer_state(), **({"types": TYPES} | BASE | change))


def test_weights_that_are_left_over():
    left = {**peer_state(), "model.func.layer3_convnet.conv.linear_1.weight": torch.ones(3)}
    with pytest.raises(ValueError, match=r"no place for the weights model\.func\.layer3_convnet"):
        from_nequip_state(left, types=TYPES, **BASE)
    with pytest.raises(ValueError, match=r"expected one weight 'type_embed.*found 0"):
        from_nequip_state({"a": torch.ones(1)}, types=TYPES, **BASE)


def test_cutoffs_by_pairs_of_types():
    state = nequip_model(TYPES, **PEER, per_edge_type_cutoff={"Si": 3.0}).state_dict()
    with pytest.raises(ValueError, match="differ between pairs of types"):
        from_nequip_state(state, types=TYPES, **BASE)
