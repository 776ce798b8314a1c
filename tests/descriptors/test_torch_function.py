"""Calculators in torch: gradients once and twice, against torch's own finite differences."""

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule

from nablatom.descriptors import (
    G2,
    G4,
    G5,
    AtomicComposition,
    AtomicSymmetryFunctions,
    Bispectrum,
    Cutoff,
    EquivariantPowerSpectrum,
    Gaussian,
    Gto,
    LodeSphericalExpansion,
    MixedTypes,
    NeighborList,
    SmearedPowerLaw,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SortedDistances,
    SphericalExpansion,
    SphericalExpansionByPair,
    Willatt2018,
)
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.torch_twin import twin
from nablatom.models import AtomicDataDict

SMALL = {"cutoff": Cutoff(3.5, width=1.0), "radial": Gto(1)}
LODE = LodeSphericalExpansion(
    radial=Gto(1, radius=2.0), density=SmearedPowerLaw(1.0), max_angular=1
)
MIXED = MixedTypes(
    SphericalExpansion(**SMALL, max_angular=1),
    (1, 6, 8, 29, 79),
    [[1, 0.3], [0.2, 0], [0, 1], [-0.5, 0.4], [0.7, 0.7]],
)
FUNCTIONS = (G2(0.5), G2(4.0, 1.0), G5(0.1, 2.0), G4(0.05, 3.0, -1.0))
CALCULATORS = {
    "expansion": SphericalExpansion(**SMALL, max_angular=2),
    "radial": SoapRadialSpectrum(**SMALL),
    "power": SoapPowerSpectrum(**SMALL, max_angular=1),
    "power, all options": SoapPowerSpectrum(
        **SMALL,
        max_angular=1,
        unique=True,
        radial_spectrum=True,
        scaling=Willatt2018(2.0),
        center_weight=0.5,
    ),
    "equivariant": EquivariantPowerSpectrum(SphericalExpansion(**SMALL, max_angular=1)),
    "bispectrum": Bispectrum(SphericalExpansion(**SMALL, max_angular=1)),
    "by pair": SphericalExpansionByPair(
        **SMALL, max_angular=1, center_weight=0.5, scaling=Willatt2018(2.0)
    ),
    "mixed types": MIXED,
    "of mixed types": EquivariantPowerSpectrum(MIXED, max_lambda=1),
    "lode": LODE,
    "lode of a Gaussian": LodeSphericalExpansion(
        radial=Gto(1, radius=1.5), density=Gaussian(1.2), max_angular=2, center_weight=0.3
    ),
    "lode of dispersion": LodeSphericalExpansion(
        radial=Gto(0, radius=2.0), density=SmearedPowerLaw(1.2, 6.0), max_angular=1
    ),
    "short and long range": EquivariantPowerSpectrum(
        SphericalExpansion(**SMALL, max_angular=1), LODE, max_lambda=1
    ),
    "sorted distances": SortedDistances(3.5, 3),
    "distances of all": SortedDistances(3.5, 3, separate_neighbor_types=False),
    "neighbor list": NeighborList(3.0),
    "composition": AtomicComposition(),
    "symmetry functions": AtomicSymmetryFunctions(FUNCTIONS, Cutoff(3.5, width=None)),
}
WAVES = ["lode", "lode of a Gaussian", "lode of dispersion", "short and long range"]


def alloy():
    cell = np.array([[4.1, 0.3, 0.0], [0.4, 3.8, 0.5], [-0.2, 0.1, 4.4]])
    positions = np.array([[0, 0, 0], [0.5, 0.45, 0], [0.55, 0, 0.5]]) @ cell
    return ase.Atoms("CuAuCu", positions, cell=cell, pbc=True)


def boxed(name):
    """A molecule in a box, as waves need it."""
    structure = molecule(name)
    structure.set_cell([5.0, 5.5, 6.0])
    structure.pbc = True
    return structure


def data_of(*structures):
    return AtomicDataDict.batched([AtomicDataDict.from_ase(s) for s in structures])


def flat(tensor):
    return torch.cat([block.values.flatten() for block in tensor.blocks()])


def projected(calculator, data):
    """A few random sums of all values, as a function of positions and cell."""

    def function(positions, cell):
        values = flat(calculator({**data, "pos": positions, "cell": cell}))
        random = torch.Generator().manual_seed(0)
        weights = torch.randn(len(values), 3, generator=random, dtype=torch.float64)
        return values @ weights / len(values) ** 0.5

    return function


def leaves(data):
    return tuple(data[name].clone().requires_grad_() for name in ("pos", "cell"))


@pytest.mark.parametrize("name", CALCULATORS)
def test_gradients_once_and_twice(name):
    data = data_of(alloy())
    function = projected(CALCULATORS[name].torch(), data)
    check = {"eps": 1e-5, "fast_mode": name in WAVES}  # fast: along random directions
    assert torch.autograd.gradcheck(function, leaves(data), atol=1e-6, **check)
    assert torch.autograd.gradgradcheck(function, leaves(data), atol=1e-5, **check)


@pytest.mark.parametrize("name", CALCULATORS)
def test_formulas_in_torch_give_the_same_values(name):
    make = boxed if name in WAVES else molecule
    frames = [alloy(), make("CH3OH")]
    values = CALCULATORS[name](frames)
    positions = torch.tensor(np.concatenate([f.positions for f in frames]))
    cell = torch.tensor(np.stack([f.cell.array for f in frames]))
    expected = np.concatenate([block.values.ravel() for block in values.blocks()])
    found = twin(CALCULATORS[name], values, frames, positions, cell)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", CALCULATORS)
def test_tensor_is_that_of_the_calculator(name):
    """Labels and values; a batch of frames; the graph goes to every frame's own atoms."""
    make = boxed if name in WAVES else molecule
    structures = [alloy(), make("H2O"), make("CH3OH")]
    tensor = CALCULATORS[name].torch()(data_of(*structures))
    expected = CALCULATORS[name](structures)
    assert tensor.keys == expected.keys
    for a, b in zip(tensor.blocks(), expected.blocks(), strict=True):
        assert (a.samples, a.components, a.properties) == (b.samples, b.components, b.properties)
        np.testing.assert_array_equal(a.values.numpy(), b.values)


def test_forces_of_a_model_are_those_of_stored_gradients():
    data, structure = data_of(alloy()), alloy()
    spectrum = CALCULATORS["power"]
    positions, cell = leaves(data)
    tensor = spectrum.torch()({**data, "pos": positions, "cell": cell})
    energy = sum((block.values**2).sum() for block in tensor.blocks())
    found = torch.autograd.grad(energy, (positions, cell))
    expected = [np.zeros((3, 3)), np.zeros((1, 3, 3))]
    for block in spectrum([structure], ["positions", "cell"]).blocks():
        for name, total in zip(("positions", "cell"), expected, strict=True):
            gradient = block.gradient(name)
            slope = 2 * block.values[gradient.samples["sample"]]
            rows = gradient.samples["atom"] if name == "positions" else 0
            terms = np.einsum("r...p,rp->r...", gradient.values, slope)
            np.add.at(total, rows if name == "positions" else np.zeros(len(terms), int), terms)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy().reshape(b.shape), b, atol=1e-10)


@pytest.mark.parametrize("calculator", [CALCULATORS["power"], LODE], ids=["power", "lode"])
def test_training_on_forces_needs_no_second_derivatives_by_positions(calculator):
    """The derivative of a force loss by weights, against differences of the loss."""
    data = data_of(alloy())
    positions, cell = leaves(data)
    size = len(flat(calculator.torch()(data)))
    start = torch.linspace(-1, 1, size, dtype=torch.float64) / size

    def loss(weights):
        values = flat(
            calculator.torch(second_derivatives=False)({**data, "pos": positions, "cell": cell})
        )
        energy = torch.tanh(values * weights).sum()
        (slope,) = torch.autograd.grad(energy, positions, create_graph=True)
        return (slope**2).sum()

    weights = start.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(weights), weights)
    direction = torch.cos(torch.arange(size, dtype=torch.float64))
    plus, minus = (loss(start + h * direction).item() for h in (1e-5, -1e-5))
    assert float(found @ direction) == pytest.approx((plus - minus) / 2e-5, rel=1e-6)


class Foreign(Explicit):
    """A calculator that no formula in torch is known of."""

    def tensor(self, frames, gradients):
        return SortedDistances(3.5, 3).tensor(frames, gradients)


def test_what_is_not_known_is_nan_or_an_error():
    data = data_of(alloy())
    for second, expected in ((True, NotImplementedError), (False, None)):
        positions, cell = leaves(data)
        values = flat(
            Foreign().torch(second_derivatives=second)({**data, "pos": positions, "cell": cell})
        )
        (slope,) = torch.autograd.grad((values**2).sum(), positions, create_graph=True)
        if expected is None:
            (slope**2).sum().backward()
            assert torch.isnan(positions.grad).all()
        else:
            with pytest.raises(expected, match="second_derivatives=False"):
                (slope**2).sum().backward()


def test_dtype_follows_the_positions():
    data = data_of(molecule("H2O"))
    data = {**data, "pos": data["pos"].float()}
    tensor = CALCULATORS["power"].torch()(data)
    assert {block.values.dtype for block in tensor.blocks()} == {torch.float32}


def test_inputs_are_untouched():
    data = data_of(alloy())
    positions = data["pos"]
    before = {name: value.clone() for name, value in data.items()}
    CALCULATORS["power"].torch()(data)
    assert data["pos"] is positions
    assert not positions.requires_grad
    assert all(torch.equal(data[name], value) for name, value in before.items())
