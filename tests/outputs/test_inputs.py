"""Outputs name what is wrong with their data, and leave them as they are when a model fails."""

import ase
import pytest
import torch
from ase.build import bulk

from nablatom.models import AtomicDataDict, GraphModuleMixin, NequIP
from nablatom.outputs import (
    AtomicVirialOutput,
    FieldResponseOutput,
    ForceOutput,
    GradientOutput,
    HeatFluxOutput,
    HessianOutput,
    PartialForceOutput,
    StressOutput,
    partial_forces,
    sparse_hessian,
)
from nablatom.testing.hygiene import assert_untouched

TYPES, CUTOFF = ("Si", "C"), 3.0
OUTPUTS = {
    "forces": ForceOutput,
    "stress": StressOutput,
    "gradient": lambda model: GradientOutput(model, "total_energy", ["pos", "cell"]),
    "dense partial forces": PartialForceOutput,
    "partial forces": lambda model: lambda data: partial_forces(model, data, method="clusters"),
    "hessian": HessianOutput,
    "sparse hessian": lambda model: lambda data: sparse_hessian(model, data),
    "atomic virial": AtomicVirialOutput,
    "heat flux": HeatFluxOutput,
    "field response": FieldResponseOutput,
}


def model():
    return NequIP(TYPES, CUTOFF, layers=2, features=2, radial_hidden=[4]).eval()


def frames():
    """Two frames: the atoms of the second have other numbers in the batch than in their frame."""
    first, second = ase.Atoms("SiC", [[0, 0, 0], [0, 0, 1.8]]), bulk("SiC", "zincblende", a=4.4)
    return [first, second.repeat((4, 1, 1))]


def data(**changes):
    found = AtomicDataDict.from_ase(frames(), cutoff=CUTOFF)
    found["velocities"] = torch.ones_like(found["pos"])
    return {k: x for k, x in (found | changes).items() if x is not None}


def broken(key, row, value):
    values = data()[key].clone()
    values[row] = value
    return data(**{key: values})


FAULTS = {
    "no edges": (lambda: data(edge_index=None), KeyError, "edge_index"),
    "no images": (lambda: data(edge_cell_shift=None), KeyError, "edge_cell_shift"),
    "no elements": (lambda: data(atomic_numbers=None), KeyError, "'atom_types', and no 'atomic_nu"),
    "NaN": (
        lambda: broken("pos", 4, torch.nan),
        ValueError,
        "frame 1: the position of atom 2 is .*nan.*; expected three finite numbers",
    ),
    "unknown element": (
        lambda: broken("atomic_numbers", 5, 14 + 18),
        ValueError,
        r"frame 1: atom 3 \(Ge\) is of an element that the model does not know",
    ),
    "short list": (
        lambda: AtomicDataDict.with_neighbors(data(), CUTOFF - 0.5),
        ValueError,
        "frame 0 has neighbors within 2.5 Å, but the model reaches 3 Å",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_wrong_is_named(name, fault):
    wrong, error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        OUTPUTS[name](model())(wrong())


class Fails(GraphModuleMixin, torch.nn.Module):
    """Gives energies when it is made for that, but edits what it is given and raises."""

    cutoff, hops, type_names = CUTOFF, 2, TYPES

    def __init__(self):
        super().__init__()
        self._init_irreps(irreps_out={"atomic_energy": "0e", "total_energy": "0e"})

    def forward(self, data):
        data["total_energy"] = data.pop("pos")
        raise ArithmeticError("no convergence")


@pytest.mark.parametrize("name", OUTPUTS)
def test_inputs_are_untouched_when_the_model_raises(name):
    given = data()

    def run(data):
        with pytest.raises(ArithmeticError, match="no convergence"):
            OUTPUTS[name](Fails())(data)

    assert_untouched(run, given)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_structure_is_no_atomic_data(name):
    with pytest.raises(TypeError, match=r"got Atoms; make it with AtomicDataDict.from_ase"):
        OUTPUTS[name](model())(frames()[0])
