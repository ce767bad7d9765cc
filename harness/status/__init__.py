"""Progress of studies, read from their files. Imports neither torch nor Optuna nor Hydra."""
