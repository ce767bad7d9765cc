"""Notes on what may mislead in a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.report import write
from harness.report.analysis.caveats import notes
from tests.report.conftest import FACTS, Builder, asked

pytestmark = pytest.mark.usefixtures("no_figures")

LANES = {"numerics": {"dropout_masks": "lanes", "precision": "fp32"}}


def told(directory: Path, of: dict[str, dict[str, Any]], variant: dict[str, Any] | None = None) -> list[str]:
    """What is said of the numerics of a study's cells, whose runs have these fields."""
    builder = Builder(directory / "runs" / "study")
    builder.sweep([asked(f"demo.minilm.{name}", variant=variant or {}) for name in of], confirm={"seeds": [1]})
    for name, values in of.items():
        metrics = {"val": {}, "test": {"accuracy": 0.8}}
        builder.run(f"demo.minilm.{name}", "c1", phase="confirm", seed=1, metrics=metrics, data=FACTS, **values)
    report = write([directory / "runs" / "study"], directory / "out")
    found = notes(report.study, report.rows, report.evidence)
    return [note.text for note in found if note.kind == "Numerics"]


def test_cells_with_other_numerics_are_told(tmp_path: Path) -> None:
    """A trained run of a version that recorded none had PyTorch's masks; a head on features has no masks."""
    steps = {"cost": {"steps": 10}}
    old: dict[str, Any] = {"provenance": {}, **steps}
    new: dict[str, Any] = {"provenance": LANES, **steps}
    probe: dict[str, Any] = {"provenance": {}, "cost": {}}
    assert told(tmp_path / "a", {"lora": new, "full": new, "linear_probe": probe}) == []
    assert told(tmp_path / "b", {"lora": old, "full": old}) == []
    (text,) = told(tmp_path / "c", {"lora": new, "full": old, "linear_probe": probe})
    assert "lanes: lora; native: full" in text and "train.dropout_masks" in text and "probe" not in text
    other: dict[str, Any] = {"provenance": {"numerics": {"dropout_masks": "lanes", "precision": "bf16"}}, **steps}
    (text,) = told(tmp_path / "d", {"lora": new, "full": other})
    assert "train.precision" in text and "bf16: full; fp32: lora" in text
