"""CP2K: its log, and the files of positions, forces and cells that a run writes beside it."""
