"""A study whose runs share passes finds what it finds without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.study.test_survival import Study


@pytest.mark.slow
def test_a_fused_study_equals_one_run_after_another(tmp_path: Path, cache: Path) -> None:
    """The same trials, scores, choices and files; runs of two cells shared passes, those of the probe did not."""
    question = (
        "method=lora,bitfit,linear_probe", "tune.trials=2", "confirm.seeds=1", "train.epochs=1", "launch.kind=inline",
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in ("4", "off"):
        study = Study(tmp_path / batch, cache, *question, f"launch.fuse={batch}")
        code, printed = study.finish()
        assert code == 0, printed
        found[batch] = study.records()
        models = sorted(path.parent.parent.parent.name for path in study.runs.glob("*/*/model/head.safetensors"))
        assert models == ["csv.minilm.bitfit", "csv.minilm.linear_probe", "csv.minilm.lora"]
    assert {r["cost"].get("fused_runs") for r in found["off"]} == {1, None}
    assert {r["cost"].get("fused_runs") for r in found["4"] if r["method"] != "linear_probe"} == {2, 4}
    for packed, solo in zip(found["4"], found["off"], strict=True):
        assert packed["signature"] == solo["signature"]
        assert packed["status"] == solo["status"] == "ok"
        if packed["method"] != "linear_probe":
            assert packed["provenance"]["numerics"] == {"dropout_masks": "lanes", "precision": "fp32"}
        assert packed["hyperparameters"] == solo["hyperparameters"]
        for split, values in solo["metrics"].items():
            assert packed["metrics"][split] == pytest.approx(values, abs=1e-4)
        for cost in ("steps", "tokens", "samples", "params_trainable", "saved_bytes", "best_epoch"):
            assert packed["cost"].get(cost) == solo["cost"].get(cost)
