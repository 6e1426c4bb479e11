"""What a predictor is made of: features, folds, trees, closed forms and networks."""
