"""Files that runs write, and rules over them. Imports neither torch nor Optuna."""
