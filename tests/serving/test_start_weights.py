"""Training that starts from an earlier winner (`train.init`): texts and classes, studies and models, bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.serving.predict import load
from tests.helpers import own_model, tiny_writers
from tests.helpers.tiny_writers import WORDS

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder."""
    return tiny_writers.saved(tmp_path_factory.mktemp("writer"), tiny_writers.decoder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT."""
    return own_model.write(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts and completions."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = [f"{one} {other},{other}" for one in WORDS for other in WORDS[:4]]
    path.write_text("\n".join(["prompt,completion", *lines]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of two classes."""
    path = tmp_path_factory.mktemp("classes") / "rows.csv"
    pairs = [("good", "bad"), ("great", "awful"), ("fine", "poor")]
    lines = [
        f"the {noun} {word} {tail},{label}"
        for pair in pairs
        for label, word in zip(("up", "down"), pair, strict=True)
        for noun in ("film", "story", "acting")
        for tail in ("a", "the", "the a", "film")
    ]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return path


def writing(texts: Path, writer: Path) -> list[str]:
    """Overrides of a task of texts on the tiny decoder."""
    return [
        "task=text_generation", f"task.path={texts}", "task.prompt=prompt", "task.completion=completion",
        "task.name=rows", "task.generate.max_new_tokens=4", "model=own", "model.name=tiny", f"model.path={writer}",
        "device=cpu", "train.epochs=2", "train.batch_size=8",
    ]  # fmt: skip


def classifying(classes: Path, encoder: Path) -> list[str]:
    """Overrides of a task of classes on the tiny encoder."""
    return [
        "task=csv", f"task.path={classes}", "task.name=words", "model=own", "model.name=tiny", f"model.path={encoder}",
        "device=cpu", "train.epochs=2", "train.batch_size=8",
    ]  # fmt: skip


def result(printed: str) -> tuple[Path, dict[str, Any]]:
    """The directory and the record of a single run."""
    line = next(line for line in printed.splitlines() if line.strip().startswith("Record:"))
    record = Path(line.split("Record:")[1].strip())
    return record.parent, json.loads(record.read_text(encoding="utf-8"))


def run(main: Main, *arguments: str) -> tuple[Path, dict[str, Any]]:
    """Execute a single run."""
    code, printed = main(*arguments)
    assert code == 0, printed
    return result(printed)


@pytest.mark.parametrize("method", ["lora_all_linear", "full"])
def test_a_writer_starts_as_the_earlier_winner_ended(
    method: str, texts: Path, writer: Path, tmp_path: Path, main: Main
) -> None:
    """Untrained, it has its loss and writes its texts; trained on, its saved model needs nothing of the earlier one."""
    before, winner = run(main, *writing(texts, writer), f"method={method}", "train.lr=0.02")
    init = f"train.init={before / 'model'}"
    _, started = run(main, *writing(texts, writer), "method=zero_shot", init)
    assert started["metrics"]["test"]["loss"] == pytest.approx(winner["metrics"]["test"]["loss"], abs=1e-4)
    assert started["provenance"]["init_digest"]
    after, _ = run(main, *writing(texts, writer), "method=lora", init, "train.lr=0.02")
    shutil.rmtree(before)
    table = pd.read_parquet(after / "predictions.parquet").query("split == 'test'")
    assert load(after / "model", device="cpu").predict(table["prompt"].tolist()) == table["prediction"].tolist()
    # A chain: what it ended as is where the next one starts.
    _, chained = run(main, *writing(texts, writer), "method=zero_shot", f"train.init={after / 'model'}")
    wanted = json.loads((after / "record.json").read_text(encoding="utf-8"))["metrics"]["test"]["loss"]
    assert chained["metrics"]["test"]["loss"] == pytest.approx(wanted, abs=1e-4)


def test_a_classifier_keeps_its_head_where_classes_are_the_same(
    classes: Path, encoder: Path, tmp_path: Path, main: Main
) -> None:
    """With other classes the head is new, which is told; with another text family, too."""
    still = ["train.lr=1e-12", "train.head_lr=1e-12", "train.epochs=1"]
    before, winner = run(main, *classifying(classes, encoder), "method=lora", "train.lr=0.02", "train.head_lr=0.02")
    init = f"train.init={before / 'model'}"
    _, same = run(main, *classifying(classes, encoder), "method=full", init, *still)
    for metric in ("loss", "accuracy"):
        assert same["metrics"]["test"][metric] == pytest.approx(winner["metrics"]["test"][metric], abs=1e-4)
    assert not any("head is new" in line for line in same["data"]["warnings"])
    renamed = tmp_path / "renamed.csv"
    renamed.write_text(classes.read_text(encoding="utf-8").replace(",up", ",yes"), encoding="utf-8")
    _, other = run(main, *classifying(renamed, encoder), "method=lora", init)
    assert any("head is new" in line for line in other["data"]["warnings"])


def test_a_study_and_a_copy_of_its_model_are_the_same_start(
    texts: Path, writer: Path, tmp_path: Path, main: Main
) -> None:
    """A start is an axis; what a run is identified by is the content, not the path."""
    study = ["-m", *writing(texts, writer), "tune.trials=1", "confirm.seeds=1", "launch.kind=inline"]
    code, printed = main(*study, "study=first", "method=lora,ia3", "train.lr=0.02")
    assert code == 0, printed
    saved = sorted((tmp_path / "runs" / "first").glob("runs/*/*/model"))
    scores = {path: json.loads((path.parent / "record.json").read_text(encoding="utf-8")) for path in saved}
    best = min(scores, key=lambda path: float(scores[path]["metrics"]["val"]["loss"]))
    shutil.copytree(best, tmp_path / "copy")
    code, printed = main(
        *study, "study=second", "method=ia3", "train.init=null,first", "axes=[train.init]", "train.lr=0.01"
    )
    assert code == 0, printed
    records = sorted((tmp_path / "runs" / "second").glob("runs/*/confirm-*/record.json"))
    assert len(records) == 2
    losses = [json.loads(path.read_text(encoding="utf-8"))["metrics"]["test"]["loss"] for path in records]
    assert len({*losses}) == 2
    by_study, _ = run(main, *writing(texts, writer), "method=lora", "train.init=first")
    by_copy, _ = run(main, *writing(texts, writer), "method=lora", f"train.init={tmp_path / 'copy'}")
    plain, _ = run(main, *writing(texts, writer), "method=lora")
    assert by_study.name == by_copy.name != plain.name


def test_what_is_refused(texts: Path, writer: Path, classes: Path, encoder: Path, tmp_path: Path, main: Main) -> None:
    """Before any compute, in a sentence."""
    prompts, _ = run(main, *writing(texts, writer), "method=prompt_tuning", "task.max_length=60")
    trained, _ = run(main, *writing(texts, writer), "method=lora")
    own = writing(texts, writer)
    cut = tmp_path / "cut"
    shutil.copytree(trained / "model", cut)
    (cut / "adapter" / "adapter_model.safetensors").unlink()
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "empty" / "sweep.yaml").write_text("{}", encoding="utf-8")
    for arguments, told in (
        ([*own, "train.init=nowhere"], "is no saved model and no study"),
        ([*own, f"train.init={prompts / 'model'}"], "cannot be merged into the weights"),
        ([*own, f"train.init={cut}"], "is incomplete"),
        ([*own, "train.init=empty"], "saved no model"),
        ([*classifying(classes, encoder), f"train.init={trained / 'model'}"], "whose weights are others"),
        (["-m", *own, "train.init=a,b"], "axes=[train.init]"),
    ):
        code, printed = main(*arguments)
        assert code == 2 and told in " ".join(printed.split()) and "Traceback" not in printed, printed
