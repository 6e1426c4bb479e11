"""Property predictors: from formulas with measured values to predictions with error bars."""
