"""A saved model labels texts as the run that saved it did, for every kind of method, from Python and from the shell."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import HarnessError
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from harness.serving.predict import Predictor, load, main
from tests.helpers.small_dataset import ROOT, record, spec
from tests.helpers.small_dataset import short_config as config

METHODS = ("zero_shot", "nearest_mean", "linear_probe", "bitfit", "lora", "ia3", "adalora", "full", "knn")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's runs lie."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def probe(home: Path, cache: Path) -> RunSpec:
    """A finished run of the linear probe."""
    planned = spec(config(home, cache, "linear_probe"), home / "linear_probe")
    execute(RunBatch((planned,)))
    return planned


@pytest.mark.parametrize(
    ("method", "pooling"),
    [
        *((method, "mean") for method in METHODS),
        *((method, "model") for method in ("full", "lora", "houlsby")),
        ("lora", "cls"),
    ],
)
def test_saved_model_predicts_what_the_run_predicted(method: str, pooling: str, home: Path, cache: Path) -> None:
    """Loaded again, the model gives the test probabilities that the run recorded."""
    composed = config(home, cache, method, model__pooling=pooling, train__epochs=1)
    planned = spec(composed, home / f"{method}-{pooling}")
    execute(RunBatch((planned,)))
    found = record(planned)
    assert found.error is None and found.cost["saved_bytes"] > 0
    table = pd.read_parquet(planned.paths.predictions).query("split == 'test'")
    texts = pd.read_csv(home / "test.csv")["text"]
    predictor = load(planned.paths.model, device="cpu", cache_dir=cache)
    probabilities = predictor.probabilities(list(texts))
    np.testing.assert_allclose(probabilities, np.stack(list(table["probabilities"])), atol=1e-5)
    assert predictor.predict(list(texts)) == list(table["prediction"])


def test_peft_loads_the_adapter(home: Path, cache: Path) -> None:
    """The adapter is in PEFT's own format: PeftModel.from_pretrained gives the run's backbone."""
    from peft import PeftModel

    from harness.config.instantiate import build
    from harness.models.network import load_backbone

    composed = config(home, cache, "lora", train__epochs=1)
    planned = spec(composed, home / "peft")
    execute(RunBatch((planned,)))
    base = load_backbone(build(composed["model"]).resolve(cache), "mean", 3)
    adapted = PeftModel.from_pretrained(base, str(planned.paths.model / "adapter")).eval()
    predictor = load(planned.paths.model, device="cpu", cache_dir=cache)
    encoded = predictor.tokenizer(["my parcel is late"], return_tensors="pt")
    inputs = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
    with torch.no_grad():
        assert torch.equal(adapted(**inputs).last_hidden_state, predictor.network.backbone(**inputs).last_hidden_state)


def test_command_writes_labels_and_probabilities(probe: RunSpec, home: Path, cache: Path) -> None:
    """The command keeps a file's columns, adds label and probabilities, and defuses cells that look like formulas."""
    source = home / "new.csv"
    rows = [["1", "my parcel never arrived"], ["2", '=cmd|"x"'], ["3", 'he said "refund,\nnow"']]
    with source.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["number", "message"], *rows])
    output = home / "labels.csv"
    arguments = [str(probe.paths.model), str(source), "--text", "message", "--output", str(output), "--device", "cpu"]
    assert main([*arguments, "--cache-dir", str(cache)]) == 0
    table = pd.read_csv(output)
    assert list(table.columns) == [
        "number", "message", "prediction", "probability: delivery", "probability: password", "probability: refund",
    ]  # fmt: skip
    assert (
        table["prediction"][0] == "delivery"
        and table["message"][1] == '\'=cmd|"x"'
        and table["message"][2] == rows[2][1]
    )
    np.testing.assert_allclose(table.iloc[:, 3:].sum(axis=1), 1.0, atol=1e-5)


def test_files_of_every_format_are_labelled(probe: RunSpec, home: Path, cache: Path) -> None:
    """As training reads them; rows keep their order, and the same texts get the same labels in every format."""
    rows = {"id": ["-7", "2", "-3.2"], "text": ["my parcel never arrived", "give me my money", "I forgot my password"]}
    frame = pd.DataFrame(rows)
    frame.to_csv(home / "semi.csv", index=False, sep=";")
    frame.to_csv(home / "wide.tsv.gz", index=False, sep="\t", encoding="utf-16")
    frame.to_json(home / "lines.jsonl", orient="records", lines=True)
    frame.to_parquet(home / "typed.parquet")
    cases = [
        ("semi.csv", ["--separator", ";"], "out.csv"),
        ("wide.tsv.gz", ["--encoding", "utf-16"], "out.tsv"),
        ("lines.jsonl", [], "out.jsonl"),
        ("typed.parquet", [], "out.parquet"),
    ]
    tables = []
    for name, options, output in cases:
        target = ["--output", str(home / output), "--device", "cpu", "--cache-dir", str(cache)]
        assert main([str(probe.paths.model), str(home / name), *options, *target]) == 0
        read = {
            ".csv": lambda path: pd.read_csv(path, dtype={"id": str}),
            ".tsv": lambda path: pd.read_csv(path, sep="\t", dtype={"id": str}),
            ".jsonl": lambda path: pd.read_json(path, lines=True, dtype={"id": str}),
            ".parquet": pd.read_parquet,
        }[Path(output).suffix](home / output)
        assert read[["id", "text"]].to_dict("list") == rows, name
        tables.append(read.iloc[:, 2:])
    for table in tables[1:]:
        assert table["prediction"].tolist() == tables[0]["prediction"].tolist()
        np.testing.assert_allclose(table.iloc[:, 1:], tables[0].iloc[:, 1:], atol=1e-5)


def test_rows_without_a_text_are_told(
    probe: RunSpec, home: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They keep their place in the output, and a note counts them."""
    (home / "gaps.csv").write_text("text,id\n,1\nmy parcel is late,2\n  ,3\n")
    assert main([str(probe.paths.model), str(home / "gaps.csv"), "--device", "cpu", "--cache-dir", str(cache)]) == 0
    assert "Note: 2 of 3 rows have no text in column 'text' (row 1, 3)" in capsys.readouterr().err
    output = home / "gaps.predictions.csv"
    assert pd.read_csv(output)["id"].tolist() == [1, 2, 3]
    output.unlink()


def test_help_is_fast_and_errors_are_plain(home: Path) -> None:
    """--help imports no torch; a mistake ends with code 2, a message on standard error and no traceback."""
    asked = [sys.executable, "-X", "importtime", "-m", "harness.predict", "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "--text" in done.stdout and not {"torch", "transformers", "pandas"} & imported
    wrong = [sys.executable, "-X", "importtime", "-m", "harness.predict", str(home), "x.csv"]
    failed = subprocess.run(wrong, capture_output=True, text=True, cwd=ROOT, check=False)
    assert failed.returncode == 2 and "is not a saved model" in failed.stderr and "Traceback" not in failed.stderr
    assert " torch\n" not in failed.stderr


def test_what_is_wrong_is_told(probe: RunSpec, home: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong directories, files, columns and encodings each have a message that says what to do; nothing is written."""
    model = str(probe.paths.model)
    (home / "texts.csv").write_text("text,id\nhello,1\n")
    (home / "empty.csv").write_text("text\n")
    (home / "blank.csv").write_text("text\n\n")
    (home / "spaced.csv").write_text("text,id\n\nhello,1\nhello\n")
    (home / "latin.csv").write_bytes(b"text\nf\xfcr\n")
    (home / "again.csv").write_text("text,prediction\nhello,refund\n")
    (home / "ragged.csv").write_text("text,id\nhello,1\nhello\n")
    cases = [
        ([str(home / "nowhere"), "texts.csv"], "is not a directory"),
        ([str(probe.paths.directory), str(home / "text.csv")], "Did you mean texts.csv"),  # a run stands for its model
        ([model, str(home / "text.csv")], "Did you mean texts.csv"),
        ([model, str(home / "texts.csv"), "--text", "txt"], "has no column 'txt'. Did you mean text?"),
        ([model, str(home / "texts.csv"), "--text", "text", "--text", "id"], "takes 1 text column, not 2"),
        ([model, str(home / "empty.csv")], "has no rows"),
        ([model, str(home / "blank.csv")], "has no rows"),
        ([model, str(home / "spaced.csv")], "line 4: 1 fields where 2 are expected"),
        ([model, str(home / "latin.csv")], "--encoding cp1252 if that reads right"),
        ([model, str(home / "ragged.csv")], "line 3: 1 fields where 2 are expected"),
        ([model, str(home / "again.csv")], "has a column 'prediction' already"),
        ([model, str(home / "texts.csv"), "--output", str(home / "x.xlsx")], "must end in one of .csv, .tsv"),
        ([model, str(home / "texts.csv"), "--output", str(home / "texts.csv")], "would overwrite the texts"),
        ([model, str(home / "texts.csv"), "--output", str(home / "folder.csv")], "folder.csv is a folder"),
        ([model, str(home / "texts.csv"), "--output", str(home / "id.csv" / "x.csv")], "is a file, not a folder"),
        ([model, str(home / "texts.csv"), "--output", str(home / "none" / "x.csv")], "does not exist: make it"),
        ([model, str(home / "texts.csv"), "--columns", ""], "--columns names no column"),
        ([model, str(home / "texts.csv"), "--cache-dir", str(home / "id.csv" / "x")], "lies below, a file"),
    ]
    (home / "folder.csv").mkdir()
    (home / "id.csv").write_text("")
    for arguments, message in cases:
        assert main([arguments[0], arguments[1], "--cache-dir", str(cache), *arguments[2:]]) == 2
        assert message in capsys.readouterr().err
    assert not list(home.glob("*.predictions.csv"))


def test_other_backbone_or_damaged_model_is_refused(probe: RunSpec, home: Path, cache: Path) -> None:
    """A model whose backbone is another one, or whose files are missing or of another format, is not loaded."""
    copied = home / "copied"
    shutil.copytree(probe.paths.model, copied)
    facts = json.loads((copied / "harness.json").read_text())
    (copied / "harness.json").write_text(json.dumps(facts | {"digest": "0" * 64}))
    with pytest.raises(HarnessError, match="adapts another backbone"):
        load(copied, device="cpu", cache_dir=cache)
    (copied / "harness.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(HarnessError, match="has format 99"):
        load(copied, device="cpu", cache_dir=cache)
    (copied / "harness.json").write_text(json.dumps(facts))
    (copied / "head.safetensors").write_bytes(b"nonsense")
    with pytest.raises(HarnessError, match="cannot be loaded"):
        load(copied, device="cpu", cache_dir=cache)
    (copied / "head.safetensors").unlink()
    with pytest.raises(HarnessError, match=r"is incomplete: it lacks head\.safetensors"):
        load(copied, device="cpu", cache_dir=cache)
    shutil.copy(probe.paths.model / "head.safetensors", copied)
    weights = load_file(copied / "head.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, copied / "head.safetensors")
    with pytest.raises(HarnessError, match=r"no finite numbers \(head\.bias, head\.weight\)"):
        load(copied, device="cpu", cache_dir=cache)
    shutil.copy(probe.paths.model / "head.safetensors", copied)
    # From its settings alone, transformers makes a tokenizer to which all texts are alike.
    (copied / "tokenizer.json").unlink()
    with pytest.raises(HarnessError, match="has no tokenizer"):
        load(copied, device="cpu", cache_dir=cache)
    # Without its configuration an adapter would not be loaded at all.
    (copied / "adapter").mkdir()
    shutil.copy(probe.paths.model / "head.safetensors", copied / "adapter" / "adapter_model.safetensors")
    listed = ["adapter/adapter_model.safetensors", "head.safetensors"]
    (copied / "harness.json").write_text(json.dumps(facts | {"weights": listed}))
    with pytest.raises(HarnessError, match=r"lacks adapter/adapter_config\.json"):
        load(copied, device="cpu", cache_dir=cache)
    (copied / "harness.json").write_text("{")
    with pytest.raises(HarnessError, match="cannot be read"):
        load(copied, device="cpu", cache_dir=cache)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "video"}, "family video, which this version does not have"),
        ({"family": "text_regression"}, "it lacks 'center'"),
        ({"family": "token_tagging"}, "it lacks 'tags'"),
        ({"family": "text_generation"}, "it lacks 'writing'"),
        ({"labels": None}, "not iterable"),
        ({"pairs": None}, "no usable pairs"),
        ({"max_length": 0}, "no usable max_length"),
        ({"model": "minilm", "digest": None}, "no usable model, digest"),
    ],
)
def test_a_description_cut_short_is_refused(
    probe: RunSpec,
    tmp_path: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    message: str,
) -> None:
    """A harness.json of another version, or without what its family needs, ends in a sentence."""
    facts = json.loads((probe.paths.model / "harness.json").read_text())
    (tmp_path / "harness.json").write_text(json.dumps(facts | change))
    (tmp_path / "texts.csv").write_text("text\nhello\n")
    assert main([str(tmp_path), str(tmp_path / "texts.csv"), "--cache-dir", str(cache)]) == 2
    assert message in capsys.readouterr().err


def test_predictor_checks_its_arguments(probe: RunSpec, cache: Path) -> None:
    """One string, or second texts for a model of single texts, is a plain error; no texts give no labels."""
    predictor = load(probe.paths.model, device="cpu", cache_dir=cache)
    with pytest.raises(HarnessError, match="a list of texts"):
        predictor.predict("one text")
    for wrong in (None, 5, ["a", "b"], float("nan")):
        with pytest.raises(HarnessError, match=f"number 2 is {type(wrong).__name__}"):
            predictor.predict(["a", wrong])  # type: ignore[list-item]  # what a data frame may hold
    with pytest.raises(HarnessError, match="one text a row"):
        predictor.predict(["a"], ["b"])
    assert predictor.predict([]) == [] and predictor.probabilities([]).shape == (0, 3)


@pytest.mark.parametrize("texts", [None, 3, b"text", {"text": "a"}, iter(["a"])])
def test_rows_are_a_list(texts: Any) -> None:
    """Told before the model is asked anything, for every family."""
    predictor = Predictor.__new__(Predictor)
    with pytest.raises(HarnessError, match="predict takes lists of rows, not"):
        predictor.predictions(texts)
