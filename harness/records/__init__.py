"""What runs leave on disk, and the rules over it. Imports neither torch nor Optuna."""
