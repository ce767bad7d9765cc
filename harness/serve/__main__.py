"""`harness serve <study|model dir|export> [name=path ...]`: predictions behind an address."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.command import command
from harness.errors import HarnessError, Problems
from harness.serve.loading import load_all, load_one, sources
from harness.serve.settings import HOST, PORT, Settings, option_of

ENGINES = ("auto", "torch", "onnx")
PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
_HELP = {
    "max_batch": "rows that one pass of a model takes together",
    "max_wait_ms": "milliseconds that a request waits for others to share its pass",
    "max_queue": "rows that may wait for a model; further requests get 429",
    "max_rows": "rows of one request",
    "max_chars": "characters of one text",
    "max_bytes": "bytes of a request's body",
    "max_upload": "bytes of a request's body with images or sounds",
    "max_pixels": "pixels of one image",
    "max_seconds": "seconds of one sound",
    "timeout": "seconds in which a request is answered",
    "header_timeout": "seconds in which a request's head must arrive",
    "drain": "seconds in which requests are still taken after SIGTERM",
    "stop_timeout": "seconds in which what was taken is answered, then",
    "connections": "connections open at once",
}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until it is stopped; return 0, or 2 if it cannot start."""
    options = _parser().parse_args(arguments)
    settings = Settings(**{each.name: getattr(options, each.name) for each in fields(Settings)})
    if lacks := [name for name in PACKAGES if find_spec(name) is None]:
        raise HarnessError(f"harness serve needs {', '.join(lacks)}: pip install 'harness[serve]'.")

    from harness.serve.feedback import FeedbackStore, check_folder
    from harness.serve.keys import read_keys
    from harness.serve.live.trial import trial_of
    from harness.serve.server import bind
    from harness.serve.watching.collecting import StatisticsStore

    problems = Problems()
    given = [
        _told(problems, settings.check),
        _told(problems, lambda: _check_options(options)),
        _told(problems, lambda: read_keys(options.keys)),
        _told(problems, lambda: check_folder(options.feedback, "--feedback")),
        _told(problems, lambda: check_folder(options.statistics, "--statistics")),
        _told(problems, lambda: sources([options.model, *options.more], options.runs_dir, options.cell)),
        _told(problems, lambda: bind(options.host, options.port)),
    ]
    problems.raise_any()
    _, _, keys, _, _, found, listener = given
    trial = trial_of(options.share, options.shadow, {source.name: source for source in found})

    from harness.system.resources import usable_cores

    # Read by torch when it loads; torch itself ignores CPU quotas.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    _log()
    models = load_all(found, options.device, options.cache_dir, options.engine)
    rules = _rules(models, options.precision)
    if trial is not None:
        one, two = models[trial.first], models[trial.second]
        if (one.kind, one.finds, set(one.output_names)) != (two.kind, two.finds, set(two.output_names)):
            raise HarnessError(
                f"{trial.second} takes other inputs than {trial.first}, or has other classes, so it cannot answer the "
                "same requests: put a model of the same task on trial."
            )
    from harness.export.winner import cells_of, winner
    from harness.serve.app import Service
    from harness.serve.engines import to_stdout
    from harness.serve.live.reloading import Reloader
    from harness.serve.server import run

    statistics = None if options.statistics is None else StatisticsStore(options.statistics, models)
    feedback = FeedbackStore(options.feedback)
    service = Service(models, settings, keys, feedback, options.precision, trial, statistics)
    if trial is not None:
        trial.resume(options.feedback)
    if options.reload:
        given = [source.given for source in found]
        cells = dict(zip(given, cells_of(given, options.runs_dir, options.cell), strict=True))
        reloader = Reloader(
            service, found,
            find=lambda named: winner(named, options.runs_dir, cells[named]).model,
            load=lambda folder: load_one(folder, options.device, options.cache_dir, options.engine),
            say=to_stdout,
        )  # fmt: skip
        service.beside.append(lambda: reloader.run(options.reload))
    host, port = listener.getsockname()[:2]
    for source in found:
        one = models[source.name]
        sys.stdout.write(f"{source.name}: {one.method} on {one.backbone} ({one.engine}), from {source.directory}\n")
        if source.name in rules:
            sys.stdout.write(f"  {rules[source.name].sentence()}\n")
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"Serving on http://{shown}:{port} (stop: Ctrl-C or SIGTERM)\n")
    if not keys.digests and host not in (HOST, "::1"):
        sys.stderr.write("Warning: everyone who reaches this address may ask; --keys FILE lets only holders of keys.\n")
    sys.stdout.flush()
    run(service, listener)
    return 0


def _check_options(options: argparse.Namespace) -> None:
    problems, precision, reload = Problems(), options.precision, options.reload
    problems.check(
        precision is None or 0 < precision < 1,
        f"--precision must lie between 0 and 1, both excluded, such as 0.95, not {precision}.",
    )
    problems.check(0 <= reload < float("inf"), f"--reload must be 0 (never) or a number of seconds, not {reload:g}.")
    problems.raise_any()


def _rules(models: Mapping[str, Any], precision: float | None) -> dict[str, Any]:
    """Return when models of classes abstain.

    Raises:
        HarnessError: some cannot keep the precision; all problems at once.
    """
    problems, rules = Problems(), dict[str, Any]()
    problems.check(
        precision is None or any(model.labels for model in models.values()),
        f"--precision is for models of classes, and {', '.join(models)} predict{'s' * (len(models) == 1)} none: leave "
        "it out.",
    )
    for name, model in models.items():
        if precision is not None and model.labels:
            try:
                rules[name] = model.rule(precision)
            except HarnessError as error:
                problems.add(f"--precision {precision:g}, {name}: {error}")
    problems.raise_any()
    return rules


def _told(problems: Problems, step: Callable[[], Any]) -> Any:
    """Return what a step gives; note its problems, and go on, if it fails."""
    try:
        return step()
    except HarnessError as error:
        problems.extend(error)
        return None


def _log() -> None:
    """Log to standard error, from warnings on; also what loggers with a level of their own say, such as bm25s's."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness serve",
        description="Serve a study's recommended model, a saved model or an export: /predict, /explain, /feedback, "
        "/health, /ready, /metrics, /openapi.json, and a page to try it at /.",
    )
    parser.add_argument("model", metavar="MODEL", help="study, saved model, run or export; or NAME=PATH")
    parser.add_argument("more", nargs="*", metavar="NAME=PATH", help="further models, at /models/NAME/predict")
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST}, this machine only)")
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0: any free one")
    parser.add_argument("--cell", metavar="CELL", help="of a study: the cell to serve (default: the recommended one)")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="what computes (default: the faster one)")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | mps")
    parser.add_argument(
        "--precision", type=float, metavar="P",
        help="share of right answers that models of classes keep: rows that endanger it are not answered (default: all "
        "are answered)",
    )  # fmt: skip
    parser.add_argument(
        "--share", metavar="NAME=SHARE",
        help="A/B test: the share of requests to /predict that another model answers, such as new=0.2; GET /trial says "
        "what feedback shows",
    )  # fmt: skip
    parser.add_argument(
        "--shadow",
        metavar="NAME",
        help="a model that predicts what /predict is asked without answering; GET /trial says how often it agrees",
    )
    parser.add_argument(
        "--reload", type=float, default=0, metavar="SECONDS",
        help="how often to look whether a study has another winner, which then replaces the model (default: never)",
    )  # fmt: skip
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="lines tenant:key; also the environment variable HARNESS_API_KEYS"
    )
    parser.add_argument(
        "--feedback", type=Path, default=Path("feedback"), metavar="DIR", help="where feedback goes (default: feedback)"
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="DIR",
        help="count answers there by class, confidence and feedback, without texts, for harness watch (default: no)",
    )  # fmt: skip
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--cache-dir", default="~/.cache/harness", help="default: ~/.cache/harness")
    limits = parser.add_argument_group("limits")
    for each in fields(Settings):
        kind = float if isinstance(each.default, float) else int
        limits.add_argument(
            option_of(each.name), type=kind, default=each.default, metavar="N",
            help=f"{_HELP[each.name]} (default: {each.default:g})",
        )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
