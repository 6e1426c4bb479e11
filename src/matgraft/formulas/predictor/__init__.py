"""Members weighed and calibrated on folds that none of them saw."""
