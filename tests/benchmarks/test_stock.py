from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from tests.benchmarks.stock.trainer import MeanPooled
from tests.benchmarks.workload import MEDIUM, SHORT, Work, minilm


def test_the_stock_trial_trains_the_network_that_the_harness_trains() -> None:
    """With the same head, both give the same logits for texts of different lengths."""
    backbone = load_backbone(minilm(), "mean", 0)
    stock, ours = MeanPooled(backbone, 3).eval(), AdaptedModel(backbone, "mean", 3).eval()
    ours.head.load_state_dict(stock.head.state_dict())  # type: ignore[union-attr] # it is linear for mean pooling
    batch = dict(load_tokenizer(minilm())(["my card", "where has my money gone"], padding=True, return_tensors="pt"))
    with torch.no_grad():
        torch.testing.assert_close(stock(**batch)["logits"], ours(batch))


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("work", [SHORT, MEDIUM], ids=["short", "medium"])
def test_a_trial_takes_100_steps_on_rows_of_one_length(work: Work, tmp_path: Path) -> None:
    """The rows are what the benchmarks' names say, and the two splits share none."""
    found = [list(csv.DictReader(path.open(encoding="utf-8"))) for path in work.write_rows(tmp_path)]
    train, validation = ({row["text"] for row in rows} for rows in found)
    assert work.steps == 100
    assert not train & validation
    assert {row["label"] for row in found[1]} <= {row["label"] for row in found[0]}
    for rows in found:
        encoded = load_tokenizer(minilm())([row["text"] for row in rows], truncation=True, max_length=work.tokens)
        assert {len(ids) for ids in encoded["input_ids"]} == {work.tokens}
