"""The ways to fit a method, chosen in one place."""

from __future__ import annotations

from typing import Any

from harness.api.family import families
from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import ClosedForm, GradientTrained, Prompted, Recommender, Retriever
from harness.models.pretrained import HISTORY, LANGUAGE
from harness.runs.closed_form import fit_closed_form, fit_recommender, fit_retriever
from harness.runs.fitted import Fitting
from harness.runs.gradient import fit_gradient_trained
from harness.runs.prepare import PreparedRun
from harness.runs.prompted import fit_prompted


def method_of(config: dict[str, Any]) -> ClosedForm | GradientTrained | Prompted | Recommender | Retriever:
    """Build the method of a run.

    Raises:
        HarnessError: it cannot be built, or is no kind of method.
    """
    method = build(config["method"], config["packages"])
    if not isinstance(method, ClosedForm | GradientTrained | Prompted | Recommender | Retriever):
        raise HarnessError(
            f"{type(method).__name__} is neither a ClosedForm, a GradientTrained, a Prompted, a Recommender nor a "
            "Retriever method."
        )
    return method


def fit_method(run: PreparedRun) -> Fitting:
    """Fit the method of a run."""
    method = method_of(run.spec.config)
    if isinstance(method, GradientTrained):
        return fit_gradient_trained(run, method)
    if families()[run.task.family].retrieves:
        if isinstance(method, Retriever):
            return fit_retriever(run, method)
        raise HarnessError(f"method={method.name} is not for tasks of {run.task.family}.")
    if isinstance(method, Recommender) and run.encoder.model.pooling == HISTORY:
        return fit_recommender(run, method)
    if isinstance(method, Prompted) and run.encoder.model.pooling == LANGUAGE:
        return fit_prompted(run, method)
    if isinstance(method, ClosedForm) and run.encoder.model.pooling not in (LANGUAGE, HISTORY):
        return fit_closed_form(run, method)
    raise HarnessError(f"method={method.name} is not for tasks of {run.task.family}.")
