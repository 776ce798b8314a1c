"""Products with Jacobians and Hessians, against the dense ones and against differences."""

import pytest
import torch

from nablatom.models import AtomicDataDict, LennardJones
from nablatom.outputs import ForceOutput, forces, jvp, linearize, pair_derivatives, vjp
from nablatom.testing.hygiene import assert_untouched
from response_models import Messages, cluster, crystal, data_of, left_handed, slab, small_cell

PARAMETERS = ("positions", "strain", "cell")
STRUCTURES = {"small cell": small_cell, "left-handed": left_handed, "cluster": cluster}


@pytest.fixture(scope="module")
def model():
    return Messages(2).eval()


def energies_of(model, data, positions, strain, cell):
    """Energies of atoms as a function of all three, for one frame."""
    grown = torch.eye(3, dtype=positions.dtype) + strain[0]
    return model(data | {"pos": positions @ grown, "cell": cell @ grown})["atomic_energy"]


def point_of(data):
    return data["pos"], torch.zeros(1, 3, 3, dtype=torch.float64), data["cell"]


def jacobian(model, data):
    """The dense Jacobian by every parameter, {name: (atoms, 1, *shape)}."""
    function = lambda *point: energies_of(model, data, *point)  # noqa: E731
    dense = torch.autograd.functional.jacobian(function, point_of(data))
    return dict(zip(PARAMETERS, dense, strict=True))


def like(values, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(values.shape, generator=generator, dtype=values.dtype)


def tangents_of(data):
    return {
        name: like(x, i) for i, (name, x) in enumerate(zip(PARAMETERS, point_of(data), strict=True))
    }


@pytest.mark.parametrize("name", STRUCTURES)
def test_vjp_is_the_transposed_jacobian(name, model):
    data = data_of(STRUCTURES[name](), model)
    dense = jacobian(model, data)
    weights = like(data["pos"][:, :1], 5)
    found = vjp(model, data, weights, wrt=PARAMETERS)
    for parameter in PARAMETERS:
        expected = torch.tensordot(weights, dense[parameter], dims=2)
        torch.testing.assert_close(found[parameter], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", STRUCTURES)
def test_jvp_is_the_jacobian(name, model):
    data = data_of(STRUCTURES[name](), model)
    dense, tangents = jacobian(model, data), tangents_of(data)
    expected = sum(
        torch.tensordot(dense[parameter], tangent, dims=tangent.ndim)
        for parameter, tangent in tangents.items()
    )
    torch.testing.assert_close(jvp(model, data, tangents), expected, rtol=1e-12, atol=1e-12)


def test_jvp_is_what_differences_give(model):
    data = data_of(small_cell(), model)
    tangents = tangents_of(data)
    h = 1e-5

    def moved(step):
        point = [x + step * t for x, t in zip(point_of(data), tangents.values(), strict=True)]
        return energies_of(model, data, *point)

    difference = (moved(h) - moved(-h)) / (2 * h)
    # strain multiplies a cell that moves too: second order in h
    torch.testing.assert_close(jvp(model, data, tangents), difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", STRUCTURES)
def test_hvp_is_the_hessian(name, model):
    data = data_of(STRUCTURES[name](), model)
    tangents = tangents_of(data)
    function = lambda *point: energies_of(model, data, *point).sum()  # noqa: E731
    _, expected = torch.autograd.functional.hvp(function, point_of(data), tuple(tangents.values()))
    found = linearize(model, data, of="total_energy", wrt=PARAMETERS).hvp(tangents)
    for parameter, product in zip(PARAMETERS, expected, strict=True):
        scale = product.abs().max()
        torch.testing.assert_close(found[parameter], product, rtol=0, atol=1e-12 * scale)


def test_products_of_forces_are_those_of_the_hessian(model):
    data = data_of(crystal(), model)
    tangent = {"positions": like(data["pos"], 3)}
    of_forces = linearize(ForceOutput(model), data, of="forces")
    expected = linearize(model, data, of="total_energy").hvp(tangent)["positions"]
    torch.testing.assert_close(-of_forces.jvp(tangent), expected, rtol=1e-12, atol=1e-12)
    # the Hessian is symmetric
    transposed = of_forces.vjp(tangent["positions"])["positions"]
    torch.testing.assert_close(-transposed, expected, rtol=1e-12, atol=1e-12)


def test_forces_are_products_with_ones(model):
    data = AtomicDataDict.batched([data_of(each(), model) for each in (crystal, cluster, slab)])
    found = vjp(model, data, torch.ones_like(data["pos"][:, :1]), wrt=PARAMETERS)
    derivatives = pair_derivatives(model, data)
    for parameter in PARAMETERS:
        expected = getattr(derivatives, parameter)
        torch.testing.assert_close(found[parameter], expected, rtol=1e-12, atol=1e-12)


def test_batch_is_its_frames(model):
    frames = [data_of(each(), model) for each in (crystal, cluster, small_cell)]
    moved = [tangents_of(frame) for frame in frames]
    together = {name: torch.cat([each[name] for each in moved]) for name in PARAMETERS}
    found = jvp(model, AtomicDataDict.batched(frames), together)
    alone = [jvp(model, frame, each) for frame, each in zip(frames, moved, strict=True)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_any_number_of_products_from_one_evaluation(model):
    calls = []

    def counted(data):
        calls.append(1)
        return model(data)

    data = data_of(crystal(), model)
    near = linearize(counted, data)
    dense = jacobian(model, data)["positions"][:, 0]  # (atoms, atoms, 3)
    for atom in range(3):
        along_x = torch.zeros_like(data["pos"])
        along_x[atom, 0] = 1
        column = near.jvp({"positions": along_x})[:, 0]
        torch.testing.assert_close(column, dense[:, atom, 0], rtol=0, atol=1e-13)
        row = near.vjp(torch.eye(8, dtype=torch.float64)[atom, :, None])["positions"]
        torch.testing.assert_close(row, dense[atom], rtol=0, atol=1e-13)
    assert len(calls) == 1


def test_stale_vectors_are_not_read(model):
    data = data_of(crystal(), model)
    stored = AtomicDataDict.with_edge_vectors(data)
    tangents = tangents_of(data)
    torch.testing.assert_close(jvp(model, stored, tangents), jvp(model, data, tangents))


def test_products_are_differentiable_in_training(model):
    trained = Messages(1).train()
    data = data_of(small_cell(), trained)
    tangents = tangents_of(data)
    near = linearize(trained, data, wrt=PARAMETERS)
    for product in (near.jvp(tangents), near.hvp(tangents)["strain"]):
        slopes = torch.autograd.grad(
            product.square().sum(), list(trained.parameters()), allow_unused=True, retain_graph=True
        )
        assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)
    near = linearize(model, data, wrt=PARAMETERS)
    products = [near.values, near.jvp(tangents), *near.vjp(near.values).values()]
    products += [*near.hvp(tangents).values(), *near.outputs.values()]
    assert not any(x.requires_grad for x in products)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode, model):
    data = data_of(crystal(), model)
    tangents = tangents_of(data)
    expected = jvp(model, data, tangents)
    with mode():
        inside = data_of(crystal(), model)
        moved = {name: x + 0 for name, x in tangents.items()}
        torch.testing.assert_close(jvp(model, inside, moved), expected)


def test_inputs_are_untouched(model):
    data = data_of(crystal(), model)
    assert_untouched(lambda data: linearize(model, data, wrt=PARAMETERS).outputs, data)


def test_what_does_not_depend_has_products_of_zero():
    model = LennardJones(["Si", "C"], epsilon=0.1, sigma=1.6, cutoff=3.2)
    data = data_of(crystal(), model) | {"electric_field": torch.ones(1, 3, dtype=torch.float64)}
    near = linearize(model, data, wrt=["positions", "electric_field"])
    field = {"electric_field": torch.ones(1, 3, dtype=torch.float64)}
    assert near.jvp(field).eq(0).all()
    assert near.vjp(near.values)["electric_field"].eq(0).all()
    assert near.hvp(field)["positions"].eq(0).all()
    torch.testing.assert_close(
        near.vjp(torch.ones_like(near.values))["positions"], -forces(model, data)
    )


def test_errors_name_what_is_wrong(model):
    data = data_of(crystal(), model)
    near = linearize(model, data)
    with pytest.raises(ValueError, match=r"cotangent has shape \(8,\); expected \(8, 1\)"):
        near.vjp(torch.ones(8))
    with pytest.raises(ValueError, match=r"tangent of 'positions' has shape \(3,\)"):
        near.jvp({"positions": torch.ones(3)})
    with pytest.raises(KeyError, match=r"for 'strain'.* with respect to positions"):
        near.jvp({"strain": torch.ones(1, 3, 3)})
    with pytest.raises(KeyError, match=r"by 'momentum': choose positions, strain, or one of"):
        linearize(model, data, wrt="momentum")
    with pytest.raises(ValueError, match=r"by 'atom_types': it holds torch\.int64"):
        linearize(model, data, wrt="atom_types")
    with pytest.raises(KeyError, match=r"no 'dipole'; it returns"):
        linearize(model, data, of="dipole")
