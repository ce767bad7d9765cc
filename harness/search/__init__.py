"""The hyperparameter search of each cell, with Optuna."""
