"""What training makes a model forget: after less before, a column, an objective and a limit of a study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs import measurements, retention
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import WORDS

Main = Callable[..., tuple[int, str]]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A task of short rows, general texts, questions, and a tiny decoder."""
    monkeypatch.setattr(measurements, "SECONDS", 0.1)
    rows = [{"prompt": f"{one} {two}: ", "completion": f"{two} {one}"} for one in WORDS[:6] for two in WORDS[6:]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "general.txt").write_text("\n".join(f"the {word} is near" for word in WORDS), encoding="utf-8")
    model = tiny_writers.saved(tmp_path / "model", tiny_writers.decoder)
    return (
        "task=jsonl", "task.path=rows.jsonl", "task.name=own", "task.generate.max_new_tokens=2", "model=own",
        f"model.path={model}", "model.name=tiny", "device=cpu", "train.epochs=1", "train.batch_size=8",
        "train.lr=0.01", "launch.kind=inline",
    )  # fmt: skip


def test_a_study_forgets(asked: tuple[str, ...], tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model before training is measured once; tuning measures because the search asks; the page shows it."""
    measured = []
    original = retention._measured
    monkeypatch.setattr(retention, "_measured", lambda run, network: measured.append(1) or original(run, network))
    code, printed = main(
        "-m", "study=kept", *asked, "task.retain=general.txt", "method=zero_shot,full", "tune.trials=1",
        "confirm.seeds=2", "tune.objectives=[forgetting]", "tune.constraints={forgetting:9}",
    )  # fmt: skip
    assert code == 0, printed
    found = {}
    for path in sorted((tmp_path / "runs/kept/runs").glob("*/*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["status"] == "ok" and record["data"]["retained"] == len(WORDS)
        found[f"{path.parts[-3]}/{path.parts[-2]}"] = record["cost"]
    before = {cost["retained_loss"] for name, cost in found.items() if "zero_shot" in name}
    assert len(before) == 1 and all(cost["forgetting"] == 0 for name, cost in found.items() if "zero_shot" in name)
    trained = [cost for name, cost in found.items() if "full" in name]
    assert len(trained) == 3 and len(measured) == 4  # once before training, and after each of three
    for cost in trained:
        assert cost["forgetting"] == pytest.approx(cost["retained_loss"] - before.copy().pop(), abs=2e-6) != 0
    page = (tmp_path / "reports/kept/index.html").read_text(encoding="utf-8")
    assert "forgetting, nats a token" in page and "begin with a refusal" in page


def test_questions_are_kept(asked: tuple[str, ...], tmp_path: Path, main: Main) -> None:
    """The classes of another task are its choices; a run of its own measures, too."""
    code, printed = main(*asked, "task.retain={kind:demo,rows:3}", "method=lora")
    assert code == 0, printed
    [path] = tmp_path.glob("runs/single/runs/*/*/record.json")
    cost = json.loads(path.read_text(encoding="utf-8"))["cost"]
    assert 0 <= cost["retained_accuracy"] <= 1 and -1 <= cost["forgotten_accuracy"] <= 1 and "forgetting" not in cost


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tune.objectives=[forgetting]",), "task.retain=FILE"),
        (
            ("tune.constraints={forgotten_accuracy:0.1}", "task.retain=general.txt"),
            "forgotten_accuracy is not measured",
        ),
        (
            ("tune.objectives=[forgetting]", "task.retain=general.txt", "task.validation=kfold"),
            "cannot be measured in tuning with task.validation=kfold",
        ),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], told: str, asked: tuple[str, ...], main: Main) -> None:
    """Before anything is computed."""
    code, printed = main("-m", "study=kept", *asked, "method=zero_shot,full", "tune.trials=1", *arguments)
    assert code == 2 and told in " ".join(printed.split()) and "Traceback" not in printed, printed
