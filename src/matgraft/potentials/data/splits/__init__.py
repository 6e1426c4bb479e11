"""Parts for training, validation and test that do not leak: one idea a file, `split` last."""
