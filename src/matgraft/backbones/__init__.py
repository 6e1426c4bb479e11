"""Pretrained models behind one contract."""
