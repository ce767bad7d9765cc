"""One trial of fine-tuning the last blocks as it is ordinarily run, a process of its own: transformers' Trainer.

The network is the one of `trainer.py`; everything below the last blocks is frozen, so no gradient goes there.

    python tests/benchmarks/stock/last_layers.py --model DIR --train CSV --validation CSV --output JSON [--lr 1e-3 ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from trainer import MeanPooled, by_epoch, read, train  # the program beside this one
from transformers import AutoModel, AutoTokenizer, set_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--train", "--validation", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--test", type=Path)
    for name, default in (("--layers", 2), ("--batch", 32), ("--epochs", 3), ("--tokens", 64), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    for name in ("--lr", "--head-lr"):
        parser.add_argument(name, type=float, default=1e-3)
    asked = parser.parse_args()
    asked.bf16 = False

    set_seed(asked.seed)
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    files, classes = read(asked, tokenizer, ("train", "validation", *(("test",) if asked.test else ())))
    backbone = AutoModel.from_pretrained(asked.model, add_pooling_layer=False).requires_grad_(False)
    for block in backbone.encoder.layer[-asked.layers :]:
        block.requires_grad_(True)
    trainer = train(MeanPooled(backbone, len(classes)), tokenizer, files, asked)
    scores = by_epoch(trainer)
    result = {"validation": max(scores), "by_epoch": scores, "steps": trainer.state.global_step}
    if asked.test:
        result["test"] = trainer.evaluate(files["test"])["eval_accuracy"]
    asked.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
