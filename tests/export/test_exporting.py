"""Exports load with their own tools and predict what the model does; what cannot be exported is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from harness.errors import HarnessError
from harness.export import onnx_format, proof
from harness.export.__main__ import main
from harness.export.exporting import Request, export
from harness.export.onnx_format import export_onnx
from harness.export.winner import winner
from harness.models.inference import predict_all
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from harness.serve.engines import chosen
from harness.serving.predict import load
from harness.serving.saved_model import read_description
from harness.statistics.confidence.temperature import scaled
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec, write_rows

TEXTS = ["my parcel is late", "I forgot my password", "where is my money", "x" * 300 + " late"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's runs and exports lie."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("export")


def trained(home: Path, cache: Path, method: str, **changes: Any) -> RunSpec:
    """A finished run."""
    name = "-".join(
        [method, *(str(value) for key, value in changes.items() if key != "task"), *changes.get("task", ())]
    )
    planned = spec(config(home, cache, method, train__epochs=1, **changes), home / "runs" / name)
    if not planned.paths.record.exists():
        execute(RunBatch((planned,)))
    return planned


def exported(planned: RunSpec, to: Path, cache: Path, form: str, **more: Any) -> Path:
    """An export of a run's model, from the command line's point on."""
    export(winner(planned.paths.model, Path("runs")), Request(to, form, **more), cache)
    return to


CASES = [
    ("lora", "merged", {}), ("lora", "peft", {}), ("lora", "sentence-transformers", {}), ("knn", "merged", {}),
    ("full", "merged", {"model__pooling": "model"}), ("last_layers", "sentence-transformers", {}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "form", "changes"), CASES)
def test_exports_agree(method: str, form: str, changes: dict[str, Any], home: Path, cache: Path) -> None:
    """Loaded again, here and by the format's own tool, an export gives the run's probabilities; no local path stays."""
    planned = trained(home, cache, method, **changes)
    to = exported(planned, home / f"{method}-{form}-{len(changes)}", cache, form)
    expected = load(planned.paths.model, "cpu", cache).probabilities(TEXTS)
    np.testing.assert_allclose(load(to, "cpu", cache).probabilities(TEXTS), expected, atol=1e-5)
    if form == "merged":
        from transformers import pipeline

        classify: Any = pipeline("text-classification", str(to), trust_remote_code=not changes, device="cpu")  # type: ignore[call-overload] # its overloads lack the option
        found = classify(TEXTS, truncation=True, top_k=None)
        assert {each["label"] for each in found[0]} == {"delivery", "password", "refund"}
        for row, told in zip(expected, found, strict=True):
            np.testing.assert_allclose(sorted(each["score"] for each in told), sorted(row), atol=1e-4)
    if form != "peft":
        assert str(home) not in "".join(path.read_text() for path in to.glob("*.json"))
    _check_card(to)


def test_pairs_of_texts(home: Path, cache: Path) -> None:
    """A model that reads two texts keeps its token types, here and in a pipeline."""
    from transformers import pipeline

    rows = home / "rows"
    rows.mkdir()
    for number, name in enumerate(("train", "validation", "test")):
        table = pd.read_csv(write_rows(rows / f"{name}.csv", 8, number))
        table.assign(second=table["text"].str.upper()).to_csv(rows / f"{name}.csv", index=False)
    planned = trained(rows, cache, "linear_probe", task={"text": ["text", "second"], "name": "pairs"})
    to = exported(planned, home / "pairs", cache, "merged")
    second = ["refund", "delivery", "password", "refund"]
    expected = load(planned.paths.model, "cpu", cache).probabilities(TEXTS, second)
    np.testing.assert_allclose(load(to, "cpu", cache).probabilities(TEXTS, second), expected, atol=1e-5)
    classify: Any = pipeline("text-classification", str(to), trust_remote_code=True, device="cpu")  # type: ignore[call-overload] # its overloads lack the option
    asked = [{"text": one, "text_pair": two} for one, two in zip(TEXTS[:3], second, strict=False)]
    for row, told in zip(expected, classify(asked, truncation=True, top_k=None), strict=False):
        np.testing.assert_allclose(sorted(each["score"] for each in told), sorted(row), atol=1e-4)


def _check_card(to: Path) -> None:
    text = (to / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---")[1])
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test" and 0 <= result["metrics"][0]["value"] <= 1
    assert "95 % interval" in result["metrics"][0]["name"] and metadata["license"] == "unknown"
    assert "## Limits" in text and "## Cost" in text and "tolerance" in text
    compose = yaml.safe_load((to / "compose.yaml").read_text())
    assert compose["services"]["model"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "harness" in (to / "Dockerfile").read_text()


def test_onnx_and_its_8_bits(home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file for any number of rows and tokens; the 8-bit one is smaller, and its card says what it lost."""
    planned = trained(home, cache, "linear_probe")
    # It takes most of this test, so once for both.
    export_onnx(load(planned.paths.model, "cpu", cache), home / "once.onnx")
    monkeypatch.setattr(onnx_format, "export_onnx", lambda _, file: shutil.copy(home / "once.onnx", file))
    whole, small = (exported(planned, home / f"onnx-{int8}", cache, "onnx", int8=int8) for int8 in (False, True))
    expected = load(planned.paths.model, "cpu", cache).probabilities(TEXTS)
    np.testing.assert_allclose(load(whole, "cpu", cache).probabilities(TEXTS), expected, atol=1e-4)
    rounded = load(small, "cpu", cache)
    assert rounded.predict(TEXTS[:3]) == load(whole, "cpu", cache).predict(TEXTS[:3])
    sizes = [sum(file.stat().st_size for file in to.glob("*.onnx*")) for to in (whole, small)]
    assert sizes[1] < 0.4 * sizes[0]
    text = (small / "README.md").read_text()
    # What it knows of its reliability is of its own outputs, not of the model's.
    test = pd.read_csv(planned.paths.directory.parents[1] / "test.csv")["text"].tolist()
    known, models = rounded.confidence, load(planned.paths.model, "cpu", cache).confidence
    assert known is not None and models is not None and set(known.parts) == set(models.parts)
    # In batches as the export fitted it: 8-bit activations have one scale a batch, so rows change one another a little.
    outputs = predict_all(rounded.network, rounded.examples(test), 16, torch.device("cpu"), "fp32")
    own = scaled(rounded.task.predictions(outputs), known.temperature).max(axis=1)
    np.testing.assert_allclose(known.parts["test"].confidence, own, atol=1e-5)
    assert np.abs(known.parts["test"].confidence - models.parts["test"].confidence).max() > 1e-4
    pd.DataFrame({"text": test}).to_csv(home / "only.csv", index=False)
    bare = home / "onnx-bare"
    told = export(
        winner(planned.paths.model, Path("runs")), Request(bare, "onnx", int8=True, texts=home / "only.csv"), cache
    )
    assert load(bare, "cpu", cache).confidence is None and "--precision cannot be asked of it" in told
    assert not (bare / "confidence.safetensors").exists()
    # The service measures both engines on the same file, kept in its cache.
    facts, one, said = read_description(planned.paths.model), load(planned.paths.model, "cpu", cache), list[str]()
    _, name = chosen(one, facts, "auto", home / "once.onnx", said.append)
    assert name in ("torch", "onnx") and said[-1].startswith("Measured: torch")
    other, name = chosen(one, facts, "onnx", home / "once.onnx", said.append)
    assert name == "onnx" and other.predict(TEXTS) == one.predict(TEXTS)
    with pytest.raises(HarnessError, match="which torch does not compute"):
        chosen(rounded, read_description(small), "torch", home / "none.onnx", said.append)
    assert "8-bit: the same answer" in text and "difference, 95 % interval" in text


def test_what_cannot_be_exported_is_told(
    home: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence with the alternatives and code 2; no folder is left, nor a part of one."""
    probe, houlsby = trained(home, cache, "linear_probe"), trained(home, cache, "houlsby")
    (home / "full").mkdir(exist_ok=True)
    (home / "full" / "file").write_text("kept")
    model, to = str(probe.paths.model), str(home / "none")
    cases = [
        ([model, "--to", to, "--format", "peft"], "trains no adapter of PEFT. Set --format merged or onnx or"),
        ([str(houlsby.paths.model), "--to", to], "houlsby inserts layers that no architecture"),
        ([model, "--to", to, "--int8"], "--int8 is for --format onnx"),
        ([model, "--to", str(home / "full")], "exists already"),
        ([model, "--to", str(home / "full" / "file" / "x")], "cannot be made"),
        ([model, "--to", to, "--push", "nobody"], "write OWNER/NAME"),
        ([model, "--to", to, "--push", "a/b"], "--push needs"),
        ([model, "--to", to, "--cell", "lora"], "leave --cell out"),
        ([str(home / "nowhere"), "--to", to], "There is no study"),
        (["nostudy", "--to", to, "--runs-dir", str(home)], "There is no study 'nostudy'. "),
    ]
    for arguments, message in cases:
        assert main([*arguments, "--cache-dir", str(cache)]) == 2
        assert message in capsys.readouterr().err, arguments
    monkeypatch.setattr(proof, "TOLERANCE", -1.0)
    assert main([model, "--to", to, "--cache-dir", str(cache)]) == 2
    assert "does not predict what the model does" in capsys.readouterr().err
    assert not Path(to).exists() and not list(home.glob(".*tmp")) and (home / "full" / "file").read_text() == "kept"


def test_model_without_its_run_is_proven_on_given_texts(home: Path, cache: Path) -> None:
    """A folder that was copied elsewhere has no test rows: --texts names some; its card knows no score."""
    planned = trained(home, cache, "linear_probe")
    copied = home / "copied" / "m"
    shutil.copytree(planned.paths.model, copied, dirs_exist_ok=True)
    found = winner(copied, Path("runs"))
    with pytest.raises(HarnessError, match="--texts FILE"):
        export(found, Request(home / "copy"), cache)
    pd.DataFrame({"text": TEXTS}).to_csv(home / "texts.csv", index=False)
    told = export(found, Request(home / "copy", texts=home / "texts.csv", licence="mit"), cache)
    assert "4 test rows" in told and "No test score is known" in (home / "copy" / "README.md").read_text()
    again = replace(found, model=home / "copy")
    with pytest.raises(HarnessError, match="is an export itself"):
        export(again, Request(home / "twice", texts=home / "texts.csv"), cache)
    assert json.loads((home / "copy" / "harness.json").read_text())["export"] == "merged"
