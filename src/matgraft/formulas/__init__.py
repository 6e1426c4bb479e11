"""A table of formulas and values in, a predictor with error bars out."""
