"""The frame that a probed one is held against: a copy of it would hide whatever a cutoff moves."""

from ase.build import bulk

from matgraft.potentials.active.labelling.probe import partner_of


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
