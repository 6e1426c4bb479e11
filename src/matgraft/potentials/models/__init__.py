"""Foundation potentials behind one contract; each vendor in one file."""
