"""VASP: `vasprun.xml`, `OUTCAR`, and the level of theory that both state."""
