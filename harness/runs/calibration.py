"""Measure how long the parts of a run take on this machine, on a slice of the real data, for the plan (`plan=true`).

A worker calls this `execute` in place of that of `harness.runs.execute`, at the same time as as many others as the
study will have, because they share caches and memory bandwidth. It writes nothing but its result, into the directory
that it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.api.family import families
from harness.cache.disk_cache import Cache
from harness.config.instantiate import build
from harness.config.schema import Config, TrainConfig
from harness.errors import HarnessError
from harness.features.encoder import FrozenEncoder
from harness.features.worker_state import WORKER_STATE
from harness.methods import ClosedForm, GradientTrained, Prompted, Recommender, Retriever
from harness.models.network import AdaptedModel
from harness.models.pretrained import OWN_HEADS
from harness.records.files import write_json
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.closed_form import fitted_network, head_module, indexed_network
from harness.runs.costs import Costs
from harness.runs.estimator import method_of
from harness.runs.fitted import FittedModel
from harness.runs.gradient import has_head, make_session
from harness.runs.measurements import serving, weight_bytes
from harness.runs.outputs import save_fitted
from harness.runs.prepare import PreparedRun
from harness.runs.prompted import with_examples
from harness.system.machine import PeakMemory, check_device, device_name
from harness.training.loop import advance, gradients, predict
from harness.training.session import TrainingSession

ANSWER = "calibration.json"
TRAIN_ROWS, EVALUATED_ROWS = 1024, 256  # at most in the slice; the training rows include each class at least once
LEAST_ROWS = 64
SLICE_SECONDS = 4.0  # limit for the slice in the frozen backbone; slow backbones get fewer rows
WARM_UP = 2  # steps that are not measured: buffers are allocated and kernels selected
STEPS, SECONDS = 12, 4.0  # measured training steps and seconds, whichever comes first; at least three steps


@dataclass(frozen=True)
class Rates:
    """Durations of the parts of a run, in seconds; fields that end in `row` are per row.

    Attributes:
        load: data, weights and tokenizer, once per process.
        first: what the method loads besides (libraries), once per process.
        start: a copy of the backbone, adapted.
        feature_row: frozen features, once for each row and backbone on a machine.
        fit_row: fitting a head on features.
        train_row: training.
        evaluate_row: prediction and metrics.
        serve: measuring latency and throughput.
        save: writing the adapted model.
        saved_bytes: size of that model, with its tokenizer.
        own_bytes: size of its own weights alone.
        peak_memory_mb: of the process; on a GPU, of the device.
        device, device_name, threads: where it was measured.
        began: when the worker started to measure, seconds since the epoch.
    """

    load: float = 0.0
    first: float = 0.0
    start: float = 0.0
    feature_row: float = 0.0
    fit_row: float = 0.0
    train_row: float = 0.0
    evaluate_row: float = 0.0
    serve: float = 0.0
    save: float = 0.0
    saved_bytes: int = 0
    own_bytes: int = 0
    peak_memory_mb: float = 0.0
    device: str = "cpu"
    device_name: str = ""
    threads: int = 1
    began: float = 0.0


def execute(batch: RunBatch, interrupted: Callable[[], bool] = lambda: False) -> None:
    """Measure each run of a batch; write its rates, or the error, into its directory.

    Args:
        batch: the run batch; only the configurations are used.
        interrupted: as in `harness.runs.execute.execute`; not used, since a measurement ends before it would be
            checked.
    """
    for spec in batch.runs:
        began = time.time()
        try:
            answer: dict[str, Any] = asdict(measure(spec)) | {"began": began}
        except Exception as error:  # noqa: BLE001 -- the plan reports it as unmeasured; the run will show it
            answer = {"error": f"{type(error).__name__}: {error}"}
        write_json(Path(spec.directory) / ANSWER, answer)


def measure(spec: RunSpec) -> Rates:
    """Measure the parts of one run.

    Raises:
        HarnessError: the run's configuration cannot be executed.
    """
    device = check_device(spec.config["device"])
    memory = PeakMemory(device)
    start = time.perf_counter()
    run = _load(spec, device)
    load = time.perf_counter() - start
    method = method_of(spec.config)
    if isinstance(method, GradientTrained):
        found, fitted = _gradient(run, method)
    elif isinstance(method, Retriever) and families()[run.task.family].retrieves:
        found, fitted = _indexed(run, method)
    elif isinstance(method, Prompted) and run.encoder.model.pooling in OWN_HEADS:
        found, fitted = _prompted(run, method)
    elif isinstance(method, Recommender):
        found, fitted = _recommended(run, method)
    else:
        assert isinstance(method, ClosedForm)
        found, fitted = _closed_form(run, method)
    run = fitted.prepared or run
    network = fitted.network
    assert network is not None  # both fit on whole training rows
    with torch.no_grad():
        found["serve"] = _seconds(lambda: serving(run, network))
    directory = Path(spec.directory) / "model"
    found["save"] = _seconds(lambda: save_fitted(run, fitted, directory))
    return Rates(
        load=load, saved_bytes=sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()),
        own_bytes=weight_bytes(network), peak_memory_mb=memory.megabytes(), device=device,
        device_name=device_name(device), threads=torch.get_num_threads(), **found,
    )  # fmt: skip


def _load(spec: RunSpec, device: str) -> PreparedRun:
    """Load the run's context, with a slice of its data."""
    config = spec.config
    whole = WORKER_STATE.data(config["task"], config["packages"])
    model = build(config["model"], config["packages"]).for_family(families()[whole.family])
    resolved = model.resolve(Path(config["cache_dir"]).expanduser())
    few = whole.sample(LEAST_ROWS, LEAST_ROWS)
    train = TrainConfig(**config["train"])
    encoder = FrozenEncoder(
        model, resolved, few, config["task"].get("max_length", 1), torch.device(device), train.precision,
        train.eval_batch_size, Cache(Path(spec.directory).parent / "cache", Config.cache_gb),
    )  # fmt: skip
    if model.pooling in OWN_HEADS:
        encoder.examples(few.test)  # loads backbone and tokenizer
        data = few
    else:
        encoder.features(few.validation or few.test)  # warm-up: the first pass is slower
        row = encoder.features(few.test).seconds / len(few.test)
        rows = [max(LEAST_ROWS, int(min(most, SLICE_SECONDS / row))) for most in (TRAIN_ROWS, EVALUATED_ROWS)]
        data = whole.sample(*rows)
    encoder = replace(encoder, data=data)
    return PreparedRun(spec, lambda line: None, lambda: None, train, torch.device(device), data, encoder)


Parts = tuple[dict[str, float], FittedModel]


def _closed_form(run: PreparedRun, method: ClosedForm) -> Parts:
    encoder, data = run.encoder, run.data
    described = encoder.task.described()
    descriptions = np.zeros((0, 0), dtype=np.float32) if described is None else encoder.features(described).values
    features = encoder.features(data.train)
    found = {"first": _seconds(_libraries), "feature_row": features.seconds / len(data.train)}
    heads = []
    fit = _seconds(
        lambda: heads.append(method.fit_task(encoder.task, features.values, data.train.targets, descriptions))
    )
    network = encoder.task.network(encoder.backbone, encoder.model.pooling)
    network.requires_grad_(False)
    network.head = head_module(heads[0])
    return found | {"fit_row": fit / len(data.train)}, FittedModel(Costs(), network)


def _prompted(run: PreparedRun, method: Prompted) -> Parts:
    network = run.encoder.network_as_loaded()
    prepared = with_examples(run, method, run.data.train)
    split = run.data.validation or run.data.test

    def judge() -> None:
        examples = prepared.encoder.examples(split)
        found = run.task.predict(network, examples, run.train.eval_batch_size, run.device, run.train.precision)
        run.task.evaluate(split.targets, found)

    return {"judge_row": _seconds(judge) / len(split)}, FittedModel(Costs(), network, prepared=prepared)


def _recommended(run: PreparedRun, method: Recommender) -> Parts:
    networks: list[AdaptedModel] = []
    fit = _seconds(lambda: networks.append(fitted_network(run, method)))
    return {"first": _seconds(_libraries), "fit_row": fit / len(run.data.train)}, FittedModel(Costs(), networks[0])


def _indexed(run: PreparedRun, method: Retriever) -> Parts:
    networks: list[AdaptedModel] = []
    fit = _seconds(lambda: networks.append(indexed_network(run, method)[0]))
    return {"first": _seconds(_libraries), "start": fit}, FittedModel(Costs(), networks[0])


def _gradient(run: PreparedRun, method: GradientTrained) -> Parts:
    encoder, data, train = run.encoder, run.data, run.train
    found = {"first": _seconds(_libraries)}
    if train.head_init == "probe" and has_head(run):
        features, rows = encoder.features(data.train), len(data.train)
        found["feature_row"] = features.seconds / rows
        found["fit_row"] = _seconds(lambda: encoder.probe(data.train, train.head_probe_c)) / rows
    sessions: list[TrainingSession] = []

    def make() -> None:
        sessions.append(make_session(run, method, train, data.train, data.validation, "calibration", {})[0])

    first = _seconds(make)
    sessions.clear()
    found["start"] = _seconds(make)
    found["first"] += max(0.0, first - found["start"])
    (session,) = sessions
    session.metrics_path = session.checkpoint_path = None
    session.network.train()
    found["train_row"] = _train(session)
    validation = session.validation
    assert validation is not None
    weights = {name: p.detach().clone() for name, p in session.network.trainable().items()}  # as for the best epoch

    def judge() -> None:
        task = run.task
        task.evaluate(validation.targets, predict(session.network, task, validation, train, run.device))

    found["evaluate_row"] = _seconds(judge) / len(validation)
    del weights
    return found, FittedModel(Costs(), session.network.eval(), session.hooks)


def _libraries() -> None:
    import sklearn.linear_model  # noqa: F401


def _train(session: TrainingSession) -> float:
    """Return training seconds per row: measured on some steps, scaled to the padded tokens of an epoch."""
    seconds = 0.0
    tokens = steps = 0
    lengths = session.train.tokens.lengths
    session.next_rows()  # draws the epoch's row order
    order = list(session.order)
    padded = [sum(len(batch) * int(lengths[batch].max()) for batch in step) for step in order]
    warm_up = min(WARM_UP, len(order) - 1)
    while session.progress.position < len(order):
        step = session.progress.position
        start = time.perf_counter()
        stepped = False
        while not stepped:
            taken = gradients(session)
            if not taken:
                raise session.failure or HarnessError("a step failed.")
            stepped = advance(*taken[0])
        if step >= warm_up:
            seconds += time.perf_counter() - start
            tokens += padded[step]
            steps += 1
        if steps >= STEPS or (steps >= 3 and seconds >= SECONDS):
            break
    return seconds / tokens * sum(padded) / len(session.train)


def _seconds(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes, including work on the device."""
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
