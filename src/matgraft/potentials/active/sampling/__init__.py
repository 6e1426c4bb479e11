"""Frames without labels: walkers of dynamics that stop at the gate, and structures that are made."""
