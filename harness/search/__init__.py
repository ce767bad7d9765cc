"""The search of each cell. The only package that imports Optuna."""
