"""How far studies are, read from their files. Imports neither torch nor Optuna nor Hydra."""
