"""Nequix: its file, its network and its adapter; the vendor's package is imported by the adapter alone."""
