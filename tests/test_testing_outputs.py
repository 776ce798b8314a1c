"""Every check of the output contract passes what is right and fails what is wrong."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("e3nn")

from nablatom.models import AtomicDataDict, GraphModuleMixin, StillingerWeber  # noqa: E402
from nablatom.outputs import (  # noqa: E402
    AtomicVirialOutput,
    FieldResponseOutput,
    ForceOutput,
    HeatFluxOutput,
    HessianOutput,
    PartialForceOutput,
    StressOutput,
)
from nablatom.testing import OUTPUT_CHECKS, assert_output_contract, example_structures  # noqa: E402

STRUCTURES = example_structures(["Si"])
PLACES = ["left-handed", "slab", "molecule", "one atom"]


class TwoHops(GraphModuleMixin, torch.nn.Module):
    """``E_i = ½ sum_j f(r_ij) ρ_i ρ_j`` with ``ρ_i = sum_j w f(r_ij)``: energies of two layers."""

    cutoff, hops, type_names = 4.0, 2, ("Si",)

    def __init__(self):
        super().__init__()
        self._init_irreps(irreps_out={"atomic_energy": "0e", "total_energy": "0e"})
        self.weight = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, data):
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        i, j = data["edge_index"]
        f = (1 - (data["edge_lengths"] / self.cutoff) ** 2).clamp(min=0) ** 3
        nothing = f.new_zeros(len(data["pos"]), 1)
        rho = nothing.index_add(0, i, self.weight.to(f.dtype) * f)
        energies = nothing.index_add(0, i, 0.5 * f * rho[i] * rho[j])
        total = AtomicDataDict.sum_over_atoms(energies, data)
        return {**data, "atomic_energy": energies, "total_energy": total}


class Polar(TwoHops):
    """Two layers in a field: ``E_i - F · ρ_i sum_j f(r_ij) v_ij - ½ ρ_i F²``."""

    def forward(self, data):
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        outputs = super().forward(data)
        i, _ = data["edge_index"]
        field = data["electric_field"][AtomicDataDict.frame_of_atoms(data)]
        f = (1 - (data["edge_lengths"] / self.cutoff) ** 2).clamp(min=0) ** 3
        rho = f.new_zeros(len(field), 1).index_add(0, i, f)
        moment = f.new_zeros(len(field), 3).index_add(0, i, f * data["edge_vectors"])
        work = (field * (rho * moment + 0.5 * rho * field)).sum(1, keepdim=True)
        energies = outputs["atomic_energy"] - work
        total = AtomicDataDict.sum_over_atoms(energies, data)
        return {**outputs, "atomic_energy": energies, "total_energy": total}


MODELS = {"one hop": StillingerWeber.silicon, "two hops": TwoHops}
OUTPUTS = {
    "stress": StressOutput,
    "partial forces": PartialForceOutput,
    "hessian": HessianOutput,
    "atomic virial": lambda model: AtomicVirialOutput(StressOutput(model)),
    "forces": ForceOutput,
    "heat flux": HeatFluxOutput,
    "field": lambda model: FieldResponseOutput(Polar()),
}

CASES = [(model, output) for model in MODELS for output in OUTPUTS]
CASES.remove(("one hop", "field"))  # the model that reads a field has two


@pytest.mark.parametrize("check", OUTPUT_CHECKS)
@pytest.mark.parametrize(("model", "output"), CASES)
def test_outputs_keep_the_contract(model, output, check):
    module = OUTPUTS[output](MODELS[model]()).eval()
    assert_output_contract(module, {name: STRUCTURES[name] for name in PLACES}, checks=[check])


class Changed(GraphModuleMixin, torch.nn.Module):
    """An output with one of its fields replaced by a function of data and outputs."""

    def __init__(self, func, field, change):
        super().__init__()
        self.func, self.field, self.change = func, field, change
        self._init_irreps(func.irreps_in, irreps_out=func.irreps_out)
        self.cutoff, self.hops, self.type_names = func.cutoff, func.hops, func.type_names
        self.eval()

    def forward(self, data):
        outputs = self.func(data)
        if self.field not in outputs:
            return outputs
        changed = self.change(data, outputs, outputs[self.field])
        rest = {key: values for key, values in outputs.items() if key != self.field}
        return rest if changed is None else {**rest, self.field: changed}


def signed_volume(data, outputs, stress):
    return stress * torch.linalg.det(data["cell"]).sign()[:, None, None]


def unmasked(data, outputs, stress):
    """NaN where there is no volume, after a division by it."""
    volume = torch.linalg.det(data["cell"].reshape(-1, 3, 3)).abs()[:, None, None]
    return torch.where(volume > 0, -outputs["virial"] / volume, torch.nan)


def rows_alike(data, outputs, values):
    """The same number in all rows of a tensor that must be symmetric."""
    return values[:, :1].expand_as(values)


def weighted(data, outputs, values):
    rows = torch.arange(1, len(values) + 1)
    return values * rows.view(-1, *(1 for _ in values.shape[1:]))


WRONG = {
    "fields: none": ("fields", "stress", "forces", None, "does not give .*forces.*, which it decl"),
    "forces": ("forces", "stress", "forces", lambda d, o, x: 1.00001 * x, "forces at .* expected"),
    "partial forces: transposed": (
        "partial forces", "partial forces", "partial_forces",
        lambda d, o, x: x.transpose(0, 1), "partial forces at .* expected",
    ),
    "partial forces: their sum": (
        "partial forces", "partial forces", "forces",
        lambda d, o, x: 1.001 * x, "sum over energies at .* expected",
    ),
    "stress: signed volume": (
        "stress", "stress", "stress", signed_volume, "stress times volume at .* expected",
    ),
    "stress: of rows": ("stress", "stress", "stress", rows_alike, "stress times volume at"),
    "stress: virial": (
        "stress", "stress", "virial", lambda d, o, x: -x, "virial at .* expected",
    ),
    "virial": ("virial", "stress", "virial", lambda d, o, x: -x, "virial at .* expected"),
    "virial: of the atoms": (
        "virial", "atomic virial", "atomic_virial",
        lambda d, o, x: x.mean(0, keepdim=True).expand_as(x), "atomic_virial at .* expected",
    ),
    "hessian": ("hessian", "hessian", "hessian", lambda d, o, x: 1.001 * x, "hessian at"),
    "field: dipole": ("field", "field", "dipole", lambda d, o, x: -x, "dipole at .* expected"),
    "field: polarizability": (
        "field", "field", "polarizability", lambda d, o, x: 2 * x, "polarizability at .* expected",
    ),
    "field: charges": (
        "field", "field", "born_charges",
        lambda d, o, x: x.transpose(1, 2), "born charges at .* expected",
    ),
    "heat flux": (
        "heat flux", "heat flux", "heat_flux", lambda d, o, x: 1.001 * x, "heat flux at .* expect",
    ),
    "heat flux: convective": (
        "heat flux", "heat flux", "convective_heat_flux",
        lambda d, o, x: x + 1e-3, "convective flux at .* expected",
    ),
    "rotation": (
        "rotation", "stress", "forces", lambda d, o, x: x + 1e-3 * x.abs(), "forces at .* expected",
    ),
    "permutation": ("permutation", "stress", "forces", weighted, "forces at .* expected"),
    "cells": (
        "cells", "stress", "forces", lambda d, o, x: x + 1e-3 * d["pos"], "forces at .* expected",
    ),
    "batch": (
        "batch", "stress", "forces", lambda d, o, x: x + x.norm(), "forces at .* expected",
    ),
    "batch: between frames": (
        "batch", "partial forces", "partial_forces",
        lambda d, o, x: x + ("batch" in d) * (d["batch"][:, None] != d["batch"])[..., None]
        if "batch" in d else x,
        "partial_forces across frames at .* expected 0",
    ),
    "hygiene": (
        "hygiene", "stress", "forces",
        lambda d, o, x: x.clone().requires_grad_(), "in evaluation mode, forces hold a graph",
    ),
    "training": (
        "training", "stress", "stress",
        lambda d, o, x: x.detach(), "in training mode, stress is not differentiable",
    ),
    "training: without a cell": (
        "training", "stress", "stress", unmasked, "the slope of stress by .*weight is nan",
    ),
    "precision": (
        "precision", "stress", "virial",
        lambda d, o, x: x.double(), r"virial of data in torch.float32 is in torch.float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_fails(name):
    check, output, field, change, message = WRONG[name]
    module = Changed(OUTPUTS[output](TwoHops()), field, change or (lambda d, o, x: None))
    with pytest.raises(AssertionError, match=message) as failure:
        assert_output_contract(module, STRUCTURES, checks=[check])
    assert f"in the check {check!r} of the structure" in failure.value.__notes__[0]


class Forgetful(Changed):
    """A copy does not keep what the original knows."""

    scale = 1.0

    def forward(self, data):
        return {key: x * self.scale if key == "forces" else x for key, x in self.func(data).items()}

    def __getstate__(self):
        return {**self.__dict__, "scale": 2.0}


def test_a_copy_that_gives_something_else_fails():
    with pytest.raises(AssertionError, match=r"forces at .* expected"):
        assert_output_contract(
            Forgetful(StressOutput(TwoHops()), "forces", None), STRUCTURES, checks=["copies"]
        )


class Invents(Changed):
    """A stress where there is no cell, and a field that was not announced."""

    def forward(self, data):
        outputs = self.func(data)
        stress = outputs["virial"] / torch.linalg.det(data["cell"].reshape(-1, 3, 3))[:, None, None]
        return {**outputs, "stress": stress}


def test_a_stress_without_cell_fails():
    module = Invents(StressOutput(TwoHops()), "stress", None)
    molecule = {"molecule": STRUCTURES["molecule"]}
    with pytest.raises(AssertionError, match="a structure without cell has a stress"):
        assert_output_contract(module, molecule, checks=["stress"])


def test_a_field_that_was_announced_and_is_lost_fails():
    module = StressOutput(TwoHops()).eval()
    module.irreps_out = {**module.irreps_out, "node_features": None}
    with pytest.raises(AssertionError, match="does not give node_features, which it declares"):
        assert_output_contract(module, STRUCTURES, checks=["fields"])


def test_a_field_that_was_not_announced_fails():
    module = StressOutput(TwoHops()).eval()
    module.irreps_out = {k: v for k, v in module.irreps_out.items() if k != "virial"}
    with pytest.raises(AssertionError, match="gives virial, which it does not declare"):
        assert_output_contract(module, STRUCTURES, checks=["fields"])


def test_nothing_to_check_is_a_failure():
    with pytest.raises(AssertionError, match="nothing to check: the module gives none of forces"):
        assert_output_contract(TwoHops().eval(), STRUCTURES, checks=["fields"])


def test_every_check_has_a_module_that_fails_it():
    assert {row[0] for row in WRONG.values()} | {"copies"} == set(OUTPUT_CHECKS)
