"""Predictions with a saved model: `from harness.predict import load`, or `python -m harness.predict`."""

import sys

from harness.serving.predict import Predictor, load, main

__all__ = ["Predictor", "load"]

if __name__ == "__main__":
    sys.exit(main())
