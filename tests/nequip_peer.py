"""The same model twice: ours, and that of the nequip package with the same weights."""

import warnings

import pytest
import torch

from nablatom.models import NequIP, from_nequip_state


def nequip_model(types, dtype="float64", **arguments):
    """A model of the package, which sets defaults of torch for good when it builds one."""
    pytest.importorskip("nequip")
    default, state = torch.get_default_dtype(), torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nequip.model import NequIPGNNModel
            from nequip.utils.global_state import set_global_state

            set_global_state()
            model = NequIPGNNModel(seed=1, model_dtype=dtype, type_names=list(types), **arguments)
    finally:
        torch.set_default_dtype(default)
        torch.set_rng_state(state)
    return model.eval()


def twins(
    types=("Si",), *, zbl=False, dtype="float64", **settings
) -> tuple[NequIP, torch.nn.Module]:
    """Ours and theirs, by our settings: scales and shifts by type, ``average_neighbors`` …"""
    theirs = dict(settings)
    renamed = {
        "cutoff": "r_max",
        "layers": "num_layers",
        "features": "num_features",
        "average_neighbors": "avg_num_neighbors",
        "scales": "per_type_energy_scales",
        "shifts": "per_type_energy_shifts",
        "radial_functions": "num_bessels",
        "cutoff_power": "polynomial_cutoff_p",
        "type_features": "type_embed_num_features",
    }
    theirs = {renamed.get(name, name): value for name, value in theirs.items()}
    if zbl:
        theirs["pair_potential"] = {
            "_target_": "nequip.nn.pair_potential.ZBL",
            "units": "metal",
            "chemical_species": list(types),
        }
    hidden = theirs.pop("radial_hidden", None)
    if hidden is not None:
        theirs |= {"radial_mlp_depth": len(hidden), "radial_mlp_width": hidden[0]}
    hidden = theirs.pop("readout_hidden", ())
    if hidden:
        theirs |= {
            "readout_mlp_hidden_layers_depth": len(hidden),
            "readout_mlp_hidden_layers_width": hidden[0],
        }
    peer = nequip_model(types, dtype, **theirs)
    return from_nequip_state(peer.state_dict(), types=types, zbl=zbl, **settings).eval(), peer


def nequip_results(peer, data):
    """What the peer makes of our data; it writes into what it is given."""
    known = ("pos", "cell", "edge_index", "edge_cell_shift", "atom_types", "batch", "num_atoms")
    given = {key: data[key].clone() for key in known if key in data}
    given.setdefault("batch", torch.zeros(len(data["pos"]), dtype=torch.int64))
    given.setdefault("num_atoms", torch.tensor([len(data["pos"])]))
    if "cell" in given:
        given["cell"] = given["cell"].reshape(-1, 3, 3)
    return peer(given)
