"""What decides a run: hashes that stay the same from version to version where nothing has changed."""

from __future__ import annotations

import hashlib
import json

from ase import Atoms

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.sources import frame_hashes

# The fields of a level of theory before it had a basis set.
FIELDS = (
    *("code", "version", "functional", "metagga", "hybrid", "dispersion", "hubbard_form", "spin", "soc", "aspherical"),
    *("cutoff_eV", "density_cutoff_eV", "kpoints", "kpoint_offset", "kpoint_scheme", "smearing", "smearing_width_eV"),
    *("energy", "licence", "source"),
)


def hash_of(theory: LevelOfTheory) -> str:
    data = Dataset((Sample(Atoms("H"), {}, theory=theory),))
    return frame_hashes(data, "train")["train levels of theory"]


def test_a_run_of_an_earlier_version_goes_on_since_a_basis_set_counts_only_where_there_is_one() -> None:
    old = {**dict.fromkeys(FIELDS), "hubbard_u": {}, "hubbard_orbital": {}, "potentials": [], "functional": "PBE"}
    line = json.dumps(old, sort_keys=True).encode() + b"\n"
    assert hash_of(LevelOfTheory(functional="PBE")) == hashlib.sha256(line).hexdigest()
    assert hash_of(LevelOfTheory(functional="PBE", basis="def2-SVP")) != hash_of(LevelOfTheory(functional="PBE"))
