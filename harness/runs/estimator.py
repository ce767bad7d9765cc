"""The two ways to fit a method, chosen in one place."""

from __future__ import annotations

from typing import Any

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import ClosedForm, GradientTrained
from harness.runs.closed_form import fit_closed_form
from harness.runs.fitted import Fitting
from harness.runs.gradient import fit_gradient_trained
from harness.runs.prepare import PreparedRun


def method_of(config: dict[str, Any]) -> ClosedForm | GradientTrained:
    """Build the method of a run.

    Raises:
        HarnessError: it cannot be built, or is neither kind of method.
    """
    method = build(config["method"], config["packages"])
    if not isinstance(method, ClosedForm | GradientTrained):
        raise HarnessError(f"{type(method).__name__} is neither a ClosedForm nor a GradientTrained method.")
    return method


def fit_method(run: PreparedRun) -> Fitting:
    """Fit the method of a run."""
    method = method_of(run.spec.config)
    return fit_closed_form(run, method) if isinstance(method, ClosedForm) else fit_gradient_trained(run, method)
