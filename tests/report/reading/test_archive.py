"""A study frozen into one file gives the same report, and holds nothing of the machine or of the texts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from harness.errors import HarnessError
from harness.report.analysis.verdicts import evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.settings import Settings
from harness.report.reading.archive import freeze, thaw
from harness.report.reading.study import load
from harness.report.write import write
from tests.report.analysis.test_verdicts import make
from tests.report.conftest import Builder, asked


def frozen(study: Builder, tmp_path: Path) -> Path:
    make(study, {"full": (0.9, 40.0), "zero": (0.6, 0.0)}, seeds=3)
    config = {
        "task": {"name": "banking77", "metric": "accuracy", "path": "/home/me/secret.csv"},
        "train": {"lr": 0.001}, "cache_dir": "/home/me/cache", "launch": {"kind": "local"},
        "augment": {"paraphrase": {"name": "paraphrase", "path": "/home/me/t5", "back_path": "/home/me/back"}},
    }  # fmt: skip
    asked_ = study.directory / "sweep.yaml"
    sweep = yaml.safe_load(asked_.read_text())
    for cell in sweep["cells"]:
        cell.update(config=config, question={"config": {"augment": config["augment"]}})
    asked_.write_text(yaml.safe_dump(sweep))
    for record in study.directory.glob("runs/*/*/record.json"):
        record.with_name("config.yaml").write_text(yaml.safe_dump(config))
        content = json.loads(record.read_text())
        content["data"] = content["data"] | {"augmented": {"paraphrase": {"models": ["path /home/me/t5"]}}}
        record.write_text(json.dumps(content))
        record.with_name("log.txt").write_text("a text of the data set")
        (record.parent / "model").mkdir()
        (record.parent / "model" / "head.safetensors").write_bytes(b"weights")
    freeze(study.directory, tmp_path / "study.zip")
    return tmp_path / "study.zip"


@pytest.mark.usefixtures("no_figures")
def test_same_report(study: Builder, tmp_path: Path) -> None:
    """Table and conclusions of the archive are those of the directory."""
    archive = frozen(study, tmp_path)
    one, other = write(study.directory, tmp_path / "one"), write(archive, tmp_path / "other")
    assert one.summary == other.summary
    assert (tmp_path / "one" / "table.csv").read_text() == (tmp_path / "other" / "table.csv").read_text()


def test_nothing_of_the_machine(study: Builder, tmp_path: Path) -> None:
    """Paths, models, logs and launchers stay behind; what was computed is told."""
    archive = frozen(study, tmp_path)
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        whole = b"".join(opened.read(name) for name in names)
    assert not any(name.endswith(("log.txt", ".safetensors")) for name in names)
    assert b"/home/me" not in whole and b"local" not in whole
    config = next(thaw(archive).glob("runs/*/*/config.yaml"))
    assert yaml.safe_load(config.read_text()) == {
        "task": {"name": "banking77", "metric": "accuracy"}, "train": {"lr": 0.001},
        "augment": {"paraphrase": {"name": "paraphrase"}},
    }  # fmt: skip


@pytest.mark.usefixtures("no_figures")
def test_names_of_groups_stay_behind(study: Builder, tmp_path: Path) -> None:
    """They may be those of customers; which rows belong together is kept, so the intervals are."""
    make(study, {"full": (0.9, 40.0), "zero": (0.6, 0.0)}, seeds=3)
    for file in study.directory.glob("runs/*/*/predictions.parquet"):
        table = parquet.read_table(file)
        names = pa.array([f"customer {(7 * row) % 9}" for row in table["id"].to_pylist()])
        parquet.write_table(table.append_column("group", names), file)
    freeze(study.directory, tmp_path / "study.zip")
    thawed = thaw(tmp_path / "study.zip")
    for file in thawed.glob("runs/*/*/predictions.parquet"):
        table = parquet.read_table(file).to_pydict()
        assert {*table["group"]} == {str(number) for number in range(9)}
        assert len({(row * 7 % 9, group) for row, group in zip(table["id"], table["group"], strict=True)}) == 9
    one, other = (evidence(each, rows(each), Settings()) for each in map(load, (study.directory, thawed)))
    assert one.summary == other.summary
    assert any("intervals and verdicts count the 9 groups of the" in note for note in one.notes)


def test_errors_lose_their_paths(study: Builder, tmp_path: Path) -> None:
    """What failed is told, not where on somebody's machine."""
    study.sweep([asked("demo.minilm.lora")])
    study.run("demo.minilm.lora", "t000", trial=0, status="failed", error="There is no file /home/me/private/a.csv.")
    freeze(study.directory, tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        (record,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("record.json"))
    assert "There is no file a.csv." in record and "/home" not in record


def test_a_damaged_run_is_told(study: Builder, tmp_path: Path) -> None:
    """A study that cannot be read whole is not frozen by halves."""
    study.sweep([asked("demo.minilm.lora")])
    study.run("demo.minilm.lora", "t000", trial=0).write_text("{")
    with pytest.raises(HarnessError, match=r"t000 holds a damaged file"):
        freeze(study.directory, tmp_path / "study.zip")


def test_same_bytes(study: Builder, tmp_path: Path) -> None:
    """The same study gives the same file, so that version control sees only what changed."""
    archive = frozen(study, tmp_path)
    freeze(study.directory, tmp_path / "again.zip")
    freeze(study.directory, tmp_path / "again.zip")
    assert archive.read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_a_file_of_another_kind_is_not_replaced(study: Builder, tmp_path: Path) -> None:
    """`--freeze tickets.csv` would end the data that the study was trained on."""
    study.sweep([asked("demo.minilm.lora")])
    for name, message in (("tickets.csv", r"must end in \.zip"), ("texts.zip", "exists, and is no archive of a study")):
        (tmp_path / name).write_text("text,label\n")
        with pytest.raises(HarnessError, match=message):
            freeze(study.directory, tmp_path / name)
        assert (tmp_path / name).read_text() == "text,label\n"


def test_bad_archives(tmp_path: Path) -> None:
    """What is no archive, and what is no study, is told."""
    (tmp_path / "bad.zip").write_bytes(b"PK no more")
    with pytest.raises(HarnessError, match="cannot be read as an archive"):
        thaw(tmp_path / "bad.zip")
    with pytest.raises(HarnessError, match="holds no study"):
        freeze(tmp_path, tmp_path / "study.zip")


def test_names_that_lead_outside_stay_inside(tmp_path: Path) -> None:
    """An archive of somebody else's cannot write beside its own directory."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.txt", "x")
    study = thaw(tmp_path / "evil.zip")
    assert not (study.parent.parent / "evil.txt").exists() and (study / "evil.txt").exists()
