"""W&B with an account and without a server that takes its runs: all of it is written offline, and the way out works."""

from __future__ import annotations

import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from harness.errors import HarnessError
from harness.track import Tracked
from harness.track import wandb as weights_and_biases
from harness.track.__main__ import main as track
from harness.track.registry import later
from harness.track.wandb import WeightsAndBiases, cut
from tests.track.conftest import CELL, wandb_records, wandb_runs

KEY = "0123456789" * 4  # made up
VARIABLES = ("MODE", "API_KEY", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME", "NOTES", "DIR", "BASE_URL", "SERVICE")
NODE = {"_target_": "harness.track.wandb.WeightsAndBiases", "name": "wandb"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of W&B, of an earlier test or of the machine, and a server that is given up soon."""
    for name in VARIABLES:
        monkeypatch.setenv(f"WANDB_{name}", "")  # restored afterwards, whatever a tracker removes
        monkeypatch.delenv(f"WANDB_{name}")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(weights_and_biases, "INIT_SECONDS", 2.0)
    monkeypatch.setattr(weights_and_biases, "TEARDOWN_SECONDS", 1.0)
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@contextmanager
def server(answer: int | None) -> Iterator[str]:
    """The URL of a server that answers all requests so, or not for long; 0: of a port that nobody listens at."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if answer is None:
                time.sleep(5)
            self.send_response(answer or 500)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None: ...

    if answer == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{free.getsockname()[1]}"
        return
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()


def directories(sentence: str, place: Path) -> list[Path]:
    """What `wandb sync` of a sentence names, as a shell would expand it."""
    words = shlex.split(sentence[sentence.index("wandb sync ") :])[2:]
    return [path for word in words for path in place.glob(word)]


@pytest.mark.parametrize(
    ("answer", "words"), [(0, "refused"), (401, "401"), (403, "403"), (500, "500"), (None, "deadline")]
)
def test_a_server_that_does_not_take_runs_loses_none(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: int | None, words: str
) -> None:
    """Closed, refusing, failing, hanging: they are written offline, once, and the directories that are named exist."""
    with server(answer) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        assert track(["support", "wandb"]) == 0
        said = capsys.readouterr().out
        assert words in said and "4 runs wait on this disk" in said
        assert len(directories(said.strip(), study.parent.parent)) == 4
        assert ("set WANDB_API_KEY" in said) == (answer == 401)
        wandb.teardown()
        runs = wandb_runs(study)
        assert len(runs) == 4
        assert [point["epoch"] for point in runs[f"{CELL}/trial0000"]["history"]] == [1, 2]
        # The advice of a study whose tracker was ended early, as it is printed: nothing is missing, nothing is twice.
        command = shlex.split(later(study, NODE).partition(": ")[2])
        assert command[:3] == ["python", "-m", "harness.track"] and "mode=offline" in command
        assert track(command[3:]) == 0
        wandb.teardown()
        assert set(wandb_runs(study)) == set(runs)


def test_a_key_that_is_none_is_no_loss(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused by W&B itself before it asks anybody; into a directory of the user's own with a blank."""
    monkeypatch.setenv("WANDB_API_KEY", "abc")
    monkeypatch.setenv("WANDB_DIR", "my files")
    Path("my files").mkdir()
    assert track(["support", "wandb"]) == 0
    said = capsys.readouterr().out.strip()
    found = directories(said, Path.cwd())
    assert len(found) == 4 and {path.parent for path in found} == {Path.cwd() / "my files" / "wandb"}
    assert "set WANDB_API_KEY" in said


def test_what_a_lost_server_has_been_told_waits_with_the_rest(tmp_path: Path) -> None:
    """One run is not taken in time, another is open: both wait to be sent, and the open one is begun again offline."""

    def handle(name: str, error: Exception | None = None) -> SimpleNamespace:
        def finish(exit_code: int) -> None:
            if error is not None:
                raise error

        return SimpleNamespace(dir=str(tmp_path / "wandb" / name / "files"), finish=finish, summary={})

    record = dict.fromkeys(("cell", "trial", "signature", "error"), None) | {
        "phase": "tune", "variant": {}, "hyperparameters": {}, "task": "demo", "model": "m", "method": "lora",
        "status": "ok",
    }  # fmt: skip
    one, two = (Tracked(key * 16, f"cell/{key}", record, {}) for key in "ab")
    tracker = WeightsAndBiases(mode="online")
    tracker.open(tmp_path)
    tracker.runs = {one.name: handle("run-1-a", TimeoutError()), two.name: handle("run-2-b")}
    tracker.end(one, {"test/accuracy": 1.0})
    tracker.epoch(two, 2, {"val/accuracy": 0.5}, 1.0)
    tracker.end(two, {})
    (sentence,) = tracker.close()
    assert "did not take a run within 20 s, so 3 runs wait" in sentence
    assert "wandb/offline-run-* wandb/run-1-a wandb/run-2-b" in sentence
    assert [run["history"][0]["epoch"] for run in wandb_runs(tmp_path).values()] == [2]


def test_what_wandbs_variables_say_holds_where_the_configuration_says_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Project, entity, group, tags, name, notes; the command's own options win."""
    values = {"PROJECT": "mine", "ENTITY": "team", "RUN_GROUP": "g" * 140, "TAGS": f"a,,a,{'t' * 70}", "NAME": "try"}
    for name, value in (values | {"NOTES": "why", "MODE": "offline", "RUN_ID": "fixed", "RESUME": "must"}).items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    assert track(["support", "wandb", "entity=other"]) == 0
    told = [
        each.run
        for folder in (study / "wandb").glob("offline-run-*")
        for each in wandb_records(folder)
        if each.WhichOneof("record_type") == "run"
    ]
    assert {(run.project, run.entity, run.notes) for run in told} == {("mine", "other", "why")}
    assert len({run.run_id for run in told}) == len(told) > 1  # not the one that the variable names
    assert {run.run_group for run in told} == {cut("g" * 140, 128)}
    assert all(run.display_name.startswith(f"try {CELL}/") for run in told)
    assert {"demo", "minilm", "lora", "a", cut("t" * 70, 64)} == {tag for run in told for tag in run.tags}
    wandb.teardown()
    for name in ("PROJECT", "ENTITY", "MODE"):
        monkeypatch.setenv(f"WANDB_{name}", "")  # says nothing
    tracker = WeightsAndBiases()
    tracker.open(study)
    assert (tracker.project, tracker.entity, tracker.why) == ("harness", None, "no account is logged in")


def test_long_names_stay_apart() -> None:
    names = {cut("x" * 140 + end, 128) for end in "abc"} | {cut("short", 128)}
    assert len(names) == 4 and max(map(len, names)) == 128


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MODE", "onlin", r"WANDB_MODE must be one of online, offline, .* not onlin"),
        ("PROJECT", "team/mine", r"WANDB_PROJECT=team/mine: a project of W&B is named without /"),
        ("PROJECT", "p" * 129, r"WANDB_PROJECT has 129 characters; W&B takes 128"),
        ("ENTITY", "team/mine", r"WANDB_ENTITY=team/mine: a user or team is named without /"),
        ("BASE_URL", "wandb.example.org", r"WANDB_BASE_URL=wandb.example.org is no address such as https://"),
        ("API_KEY", f" {KEY}", "WANDB_API_KEY begins or ends with white space"),
    ],
)
def test_what_wandb_would_refuse_is_told_before_anything_starts(
    main: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    """And an explicit choice makes a variable of no account."""
    monkeypatch.setenv(f"WANDB_{variable}", value)
    code, printed = main("-m", "method=nearest_mean", "task=demo", "tracker=wandb", "tune.trials=1", "study=s")
    assert code == 2 and re.search(words, " ".join(printed.split())), printed
    assert not list(Path("runs").glob("*"))
    if variable in ("MODE", "PROJECT"):
        WeightsAndBiases(mode="offline", project="mine")
    with pytest.raises(HarnessError, match=r"tracker\.wandb\.project=a:b"):
        WeightsAndBiases(project="a:b")


def test_a_file_where_a_tracker_writes_is_told(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "tensorboard").write_text("", encoding="utf-8")
    assert track(["support", "tensorboard"]) == 2
    assert "is a file, where TensorBoard's directory belongs: move it away." in capsys.readouterr().err
