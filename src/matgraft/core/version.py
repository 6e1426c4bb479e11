"""The version of matgraft, once."""

__version__ = "0.1.0"
