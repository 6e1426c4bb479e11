"""The frame that a probed one is held against: a copy of it would hide whatever a cutoff moves."""

from ase.build import bulk, fcc111

from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.probe import changes_of, partner_of


def meshes(engine, atoms):
    return [change.after for change in changes_of(engine, atoms) if change.setting == "k-mesh"]


def test_one_division_is_probed_where_the_crystal_repeats_and_not_through_vacuum():
    slab = fcc111("Al", (2, 2, 3), vacuum=8.0)
    slab.pbc = True
    box = bulk("Si", cubic=True)
    box.set_cell([20, 20, 20])
    for calculator in ("vasp", "gpaw"):
        alone = Engine(calculator=calculator, parameters={"kpts": [1, 1, 1]})
        assert meshes(alone, bulk("Si", cubic=True) * 2) == ["2x2x2"], "the doubtful mesh of a supercell"
        assert meshes(alone, slab) == ["2x2x1"] and meshes(alone, box) == []
    few = Engine(calculator="vasp", parameters={"kpts": [4, 4, 1]})
    assert meshes(few, slab) == ["6x6x1"]


def test_a_copy_is_no_other_frame():
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    copy, moved, turned, other = atoms.copy(), atoms.copy(), atoms.copy(), atoms.copy()
    moved.positions += 0.4
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    other.rattle(0.05, seed=2)
    same = [atoms, copy, moved, turned]
    assert partner_of([*same, other], 0)[1] == "frame 4" and partner_of([other, *same], 1)[1] == "frame 0"
    assert "longer" in partner_of(same, 0)[1]
