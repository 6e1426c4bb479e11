"""Frames: held in memory or on disk, grouped, split."""
