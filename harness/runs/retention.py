"""What training makes a model forget: a measure of the task's family before and after it (`task.retain`)."""

from __future__ import annotations

import contextlib
import json

import torch

from harness.models.network import AdaptedModel
from harness.records.files import write_json
from harness.records.ranking import searched_costs
from harness.records.signature import digest
from harness.runs.costs import Costs
from harness.runs.fitted import FittedModel
from harness.runs.prepare import PreparedRun

FORMAT = 1  # increased when the measured values change


def kept_before(run: PreparedRun) -> tuple[float | None, Costs]:
    """Measure the pretrained model, or read what an earlier run measured; None where nothing is to be measured.

    It is measured before training, so that what cannot be measured fails before anything is computed. Tuning measures
    only what the search uses.

    Raises:
        HarnessError: it cannot be measured.
    """
    costs = Costs()
    content = run.task.retained
    searched = {*searched_costs(run.spec.config.get("tune") or {})} & {*run.data.facts.get("costs", ())}
    if content is None or not run.whole or not (run.tests or searched):
        return None, costs
    encoder = run.encoder
    key = digest([FORMAT, content, encoder.resolved.digest, encoder.precision])
    path = encoder.cache.folder("retention") / f"{key[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8"))["value"]), costs
    with costs.phase("retain"):
        value = _measured(run, encoder.network_as_loaded())
    with contextlib.suppress(OSError):  # a cache that cannot be written is done without
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"value": value})
    return value, costs


def forgotten(run: PreparedRun, fitted: FittedModel, before: float | None) -> Costs:
    """Measure the adapted model, and return what it keeps and what it has forgotten."""
    costs = Costs()
    if before is None or fitted.network is None:
        return costs
    with costs.phase("retain"):
        # Prompting changes no weight.
        after = before if fitted.prepared is not None else _measured(run, fitted.network)
    return costs.merged(Costs(run.task.forgotten(before, after)))


def _measured(run: PreparedRun, network: AdaptedModel) -> float:
    training = network.training
    network.to(run.device).eval()
    try:
        with torch.no_grad():
            return run.task.kept(network, run.encoder.tokenizer, run.device, run.train.precision)
    finally:
        network.train(training)
