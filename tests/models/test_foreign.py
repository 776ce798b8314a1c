"""Outputs around models of other packages, against what these packages make of them."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk

import nablatom.models.irreps  # noqa: F401  # lets e3nn 0.4.4 be imported, which MACE does
from nablatom.models import AtomicDataDict
from nablatom.outputs import (
    GradientOutput,
    HessianOutput,
    PartialForceOutput,
    StressOutput,
    pair_derivatives,
)

TYPES = ("O", "Si")
CUTOFF = 3.4

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def crystal():
    atoms = bulk("Si", "diamond", 5.4) * (2, 1, 1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.006 * np.arange(9).reshape(3, 3)), scale_atoms=True)
    atoms.symbols = "OSiSiO"
    atoms.rattle(0.1, seed=3)
    return atoms


def data_of(atoms):
    return AtomicDataDict.from_ase(atoms, cutoff=CUTOFF, types=TYPES)


def nequip_twin():
    """Our graph module of a model of the nequip package, and its own results."""
    from nablatom.models import NequIPPackage
    from nequip_peer import nequip_model, nequip_results

    model = nequip_model(TYPES, **NEQUIP)
    return NequIPPackage(model).eval(), lambda atoms: nequip_results(model, data_of(atoms))


NEQUIP = {
    "r_max": CUTOFF,
    "num_layers": 2,
    "l_max": 1,
    "num_features": 4,
    "radial_mlp_width": 8,
    "avg_num_neighbors": 8.0,
    "per_type_energy_shifts": {"O": 1.0, "Si": -1.0},
}


def mace_twin(heads=("Default",)):
    """The same for MACE, which builds models of the default precision only."""
    pytest.importorskip("mace")
    from nablatom.models import MACE

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = mace_model(heads)
    finally:
        torch.set_default_dtype(default)
    return MACE(model, head=heads[-1]).eval(), lambda atoms: mace_results(model, atoms, heads)


def mace_model(heads):
    from e3nn import o3
    from mace.modules import RealAgnosticResidualInteractionBlock, ScaleShiftMACE, gate_dict

    torch.manual_seed(0)
    return ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=RealAgnosticResidualInteractionBlock,
        interaction_cls_first=RealAgnosticResidualInteractionBlock,
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps("4x0e + 4x1o"),
        MLP_irreps=o3.Irreps("4x0e"),
        atomic_energies=np.array([[1.0, -2.0], [0.5, -1.0]])[: len(heads)],
        avg_num_neighbors=8.0,
        atomic_numbers=[8, 14],
        correlation=2,
        gate=gate_dict["silu"],
        atomic_inter_scale=[1.5] * len(heads),
        atomic_inter_shift=[0.1] * len(heads),
        heads=list(heads),
    ).eval()


def mace_results(model, atoms, heads=("Default",)):
    """By MACE's own neighbor list and derivatives."""
    from mace import data as mace_data
    from mace.tools import AtomicNumberTable, torch_geometric

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        config = mace_data.config_from_atoms(atoms, head_name=heads[-1])
        graph = mace_data.AtomicData.from_config(
            config, z_table=AtomicNumberTable([8, 14]), cutoff=CUTOFF, heads=list(heads)
        )
        loader = torch_geometric.dataloader.DataLoader([graph], batch_size=1)
        found = model(next(iter(loader)).to_dict(), compute_stress=bool(atoms.pbc.all()))
    finally:
        torch.set_default_dtype(default)
    return {
        "total_energy": found["energy"][:, None],
        "forces": found["forces"],
        "stress": found["stress"],
    }


TWINS = {"nequip": nequip_twin, "mace": mace_twin}


@pytest.fixture(scope="module", params=TWINS)
def twins(request):
    return TWINS[request.param]()


def assert_close(found, expected, relative=1e-10):
    expected = expected.detach()
    scale = float(expected.abs().max())
    assert scale > 1e-6
    error = float((found - expected).abs().max())
    assert error < relative * scale, f"differ by {error} of {scale}"


def test_energies_forces_and_stress(twins):
    model, results = twins
    atoms = crystal()
    found, expected = StressOutput(model)(data_of(atoms)), results(atoms)
    for name in ("total_energy", "forces", "stress"):
        assert_close(found[name], expected[name])


def test_clusters(twins):
    model, results = twins
    atoms = ase.Atoms("OSi2O", [[0, 0, 0], [1.6, 0.1, 0], [0.3, 1.9, 0.2], [0.1, 0.4, 2.2]])
    found, expected = GradientOutput(model, "total_energy", "pos", sign=-1.0), results(atoms)
    found = found(data_of(atoms))
    assert_close(found["total_energy"], expected["total_energy"])
    assert_close(found["d(total_energy)/d(pos)"], expected["forces"])


def test_batches(twins):
    model, _ = twins
    frames = [data_of(crystal()), data_of(crystal()[:3]), data_of(crystal() * (1, 2, 1))]
    together = StressOutput(model)(AtomicDataDict.batched(frames))
    alone = [StressOutput(model)(frame) for frame in frames]
    for name in ("total_energy", "forces", "stress"):
        assert_close(together[name], torch.cat([part[name] for part in alone]), 1e-11)


def test_partial_forces(twins):
    """Sparse from receptive fields, dense by one pass for each atom."""
    model, _ = twins
    data = data_of(crystal() * (1, 1, 2))
    found = PartialForceOutput(model)(data)
    forces = StressOutput(model)(data)["forces"]
    assert_close(found["partial_forces"].sum(0), forces, 1e-11)
    index = 3
    energy = pair_derivatives(
        model, data, of="atomic_energy", cotangent=torch.eye(len(forces))[index][:, None].double()
    )
    assert_close(found["partial_forces"][index], -energy.positions, 1e-11)


def test_second_derivatives(twins):
    """A column of the Hessian against differences of forces."""
    model, _ = twins
    atoms, step = crystal(), 1e-4
    hessian = HessianOutput(model)(data_of(atoms))["hessian"].reshape(12, 12)
    forces = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        forces.append(StressOutput(model)(data_of(moved))["forces"].flatten())
    assert_close(hessian[:, 5], (forces[1] - forces[0]) / (2 * step), 1e-5)


def test_inputs_stay_as_they_are(twins):
    model, _ = twins
    data = data_of(crystal())
    before = {key: value.clone() for key, value in data.items()}
    model(data)
    assert data.keys() == before.keys()
    assert not any(value.requires_grad for value in data.values())
    assert all(torch.equal(data[key], before[key]) for key in data)


def test_what_the_models_tell(twins):
    model, _ = twins
    assert (model.cutoff, model.hops, model.type_names) == (CUTOFF, 2, TYPES)
    with pytest.raises(ValueError, match="does not know; its types are O, Si"):
        model(AtomicDataDict.from_ase(ase.Atoms("H"), cutoff=CUTOFF))


def test_heads():
    model, results = mace_twin(heads=("first", "second"))
    atoms = crystal()
    assert_close(StressOutput(model)(data_of(atoms))["forces"], results(atoms)["forces"])
    assert_close(model(data_of(atoms))["total_energy"], results(atoms)["total_energy"])
    with pytest.raises(ValueError, match="head is None; the heads of the model are first, second"):
        type(model)(model.model)


def test_mace_files(tmp_path):
    from nablatom.models import MACE

    model, _ = mace_twin()
    torch.save(model.model, tmp_path / "a.model")
    found = MACE.load(tmp_path / "a.model")
    data = data_of(crystal())
    assert torch.equal(found(data)["total_energy"], model(data)["total_energy"])


def test_nequip_files(tmp_path):
    """A package, written as nequip writes one, but with its classes from where they are."""
    from nablatom.models import NequIPPackage

    model, _ = nequip_twin()
    from nequip_peer import nequip_model

    path = tmp_path / "a.nequip.zip"
    with torch.package.PackageExporter(path) as package:
        package.extern("**")
        package.save_pickle("model", "eager_model.pkl", nequip_model(TYPES, **NEQUIP))
        metadata = "package_version_id: 1\navailable_models: [eager]\n"
        package.save_text("model", "package_metadata.txt", metadata)
    found = NequIPPackage.load(path).eval()
    data = data_of(crystal())
    assert torch.equal(found(data)["total_energy"], model(data)["total_energy"])


def test_other_modules_are_refused():
    from nablatom.models import MACE, NequIPPackage

    with pytest.raises(TypeError, match=r"expected a model of the nequip package.*got a Linear"):
        NequIPPackage(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="expected a MACE model; a Linear has no r_max"):
        MACE(torch.nn.Linear(1, 1))
