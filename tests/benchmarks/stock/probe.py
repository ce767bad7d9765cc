"""One trial of a linear probe as it is ordinarily run, a process of its own: transformers encodes, scikit-learn fits.

Nothing of the harness is used. The features are those that the harness fits on: the L2-normalised mean of token
vectors, in batches that are padded to their longest text.

    python tests/benchmarks/stock/probe.py --model DIR --train CSV --judged CSV [CSV ...] --C 10 --output JSON
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding


def read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


@torch.no_grad()
def encode(texts: list[str], model: Any, tokenizer: Any, tokens: int, batch: int) -> np.ndarray[Any, Any]:
    encoded = tokenizer(texts, truncation=True, max_length=tokens)
    rows = [{name: encoded[name][index] for name in encoded} for index in range(len(texts))]
    vectors = []
    for inputs in DataLoader(rows, batch_size=batch, collate_fn=DataCollatorWithPadding(tokenizer)):  # type: ignore[arg-type]  # a list is a dataset
        hidden = model(**inputs).last_hidden_state
        weights = inputs["attention_mask"].unsqueeze(-1)
        vectors.append(functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1))
    return torch.cat(vectors).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--train", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--judged", type=Path, nargs="+", required=True)
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    model = AutoModel.from_pretrained(asked.model, add_pooling_layer=False).eval()
    texts, labels = read(asked.train)
    features = encode(texts, model, tokenizer, asked.tokens, asked.batch)
    probe = LogisticRegression(C=asked.C, max_iter=1000).fit(features, labels)
    scores = {}
    for path in asked.judged:
        texts, labels = read(path)
        scores[path.stem] = float(probe.score(encode(texts, model, tokenizer, asked.tokens, asked.batch), labels))
    asked.output.write_text(json.dumps(scores), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
