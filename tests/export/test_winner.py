"""A study stands for the model that its report recommends; from there to an export and a service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.export.exporting import Request, export
from harness.export.winner import cells_of, serve_argument, winner
from harness.serve.loading import load_one
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import TEMPLATE, WORDS
from tests.serve.conftest import Serve

Main = Callable[..., tuple[int, str]]


def test_from_study_to_service(tmp_path: Path, cache: Path, main: Main, serve: Serve) -> None:
    """The recommended cell, or a named one, is exported with its rivals on the card, and answers prompts and chats."""
    model = tiny_writers.saved(tmp_path / "writer", tiny_writers.decoder, TEMPLATE)
    rows = [json.dumps({"prompt": f"{one}, {two}", "text": f"{one} {two}"}) for one in WORDS[:5] for two in WORDS[6:11]]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    code, printed = main(
        "-m", "study=texts", f"task.path={tmp_path / 'rows.jsonl'}", "task=text_generation", "task.prompt=prompt",
        "task.completion=text", "task.chat=true", "task.name=texts", "task.generate.max_new_tokens=5", "model=own",
        f"model.path={model}", "model.name=tiny", "device=cpu", "method=lora,ia3", "train.epochs=1",
        "train.batch_size=8", "tune.trials=1", "confirm.seeds=2", "launch.kind=inline",
    )  # fmt: skip
    assert code == 0, printed
    found = winner("texts", tmp_path / "runs")
    assert found.cell is not None and found.why and found.model.parent.parent.name == found.cell.cell.id
    named = winner("texts", tmp_path / "runs", "ia3")
    assert named.cell is not None and named.cell.cell.method == "ia3" and named.why == "named by --cell"
    with pytest.raises(HarnessError, match="is no cell of"):
        winner("texts", tmp_path / "runs", "lore")
    for form in ("peft", "merged"):
        export(winner("texts", tmp_path / "runs", "lora"), Request(tmp_path / form, form), cache)
        card = (tmp_path / form / "README.md").read_text()
        assert "| texts.tiny.ia3 |" in card and "2 seeds" in card
    adapter = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "tiny" and adapter["task_type"] == "CAUSAL_LM"
    for form in ("onnx", "sentence-transformers"):
        with pytest.raises(HarnessError, match="Set --format merged or peft"):
            export(winner("texts", tmp_path / "runs", "lora"), Request(tmp_path / form, form), cache)

    model_of = {form: load_one(tmp_path / form, "cpu", cache, "auto") for form in ("merged", "peft")}
    with serve(model_of) as running:
        answers = [
            running.post(f"/models/{form}/predict", body).json()["predictions"]
            for form in model_of
            for body in ({"prompt": "area, food"}, {"messages": [{"role": "user", "content": "area, food"}]})
        ]
        assert all(each == answers[0] for each in answers) and isinstance(answers[0][0]["prediction"], str)
        long = running.post("/predict", {"prompt": "area " * 400})
        assert long.status_code == 422 and "tokens" in long.json()["error"]
        for wrong in ({"messages": []}, {"messages": [{"role": "assistant", "content": "x"}]}, {"prompts": "x"}):
            assert running.post("/predict", wrong).status_code == 422
    shutil.rmtree(found.model)
    with pytest.raises(HarnessError, match="has no saved model"):
        winner("texts", tmp_path / "runs", found.cell.cell.id)


def test_a_cell_is_one_of_studies(tmp_path: Path) -> None:
    """Of several models that are named together; while none is a study, `winner` says so of each."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.yaml").write_text("")
    assert cells_of(["one", "exported", "two"], tmp_path, "x") == ["x", None, "x"]
    assert cells_of(["exported", "other"], tmp_path, "x") == ["x", "x"]
    assert cells_of(["one", "exported"], tmp_path, None) == [None, None]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("out", "out"), ("lr=0.1", "./lr=0.1"), ("/data/lr=0.1/x", "/data/lr=0.1/x"), ("a b/c", "'a b/c'")],
)
def test_paths_as_serve_takes_them(path: str, expected: str) -> None:
    """A = before the first / would name a model."""
    assert serve_argument(Path(path)) == expected
