"""One trial of fine-tuning the last blocks as it is ordinarily run, a process of its own: transformers' Trainer.

The network is the one of `trainer.py`; everything below the last blocks is frozen, so no gradient goes there.

    python tests/benchmarks/stock/last_layers.py --model DIR --train CSV --validation CSV --output JSON [--lr 1e-3 ...]
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
from trainer import MeanPooled, rows  # the program beside this one
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed


class TwoRates(Trainer):
    """The head learns at a rate of its own; biases and norms do not decay."""

    head_lr = 1e-3

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((name.startswith("head."), parameter.ndim > 1), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.head_lr if head else self.args.learning_rate,
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for (head, decays), parameters in groups.items()
            ],
            fused=True,
        )
        return self.optimizer


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

    set_seed(asked.seed)
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    with asked.train.open(encoding="utf-8", newline="") as file:
        classes = sorted({row["label"] for row in csv.DictReader(file)})
    train = rows(asked.train, tokenizer, asked.tokens, classes)
    validation = rows(asked.validation, tokenizer, asked.tokens, classes)
    backbone = AutoModel.from_pretrained(asked.model, add_pooling_layer=False).requires_grad_(False)
    for block in backbone.encoder.layer[-asked.layers :]:
        block.requires_grad_(True)
    steps = asked.epochs * -(-len(train) // asked.batch)
    trainer = TwoRates(
        model=MeanPooled(backbone, len(classes)),
        args=TrainingArguments(
            output_dir=str(asked.output.parent),
            per_device_train_batch_size=asked.batch,
            per_device_eval_batch_size=64,
            num_train_epochs=asked.epochs,
            learning_rate=asked.lr,
            weight_decay=0.01,
            warmup_steps=int(0.06 * steps),
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            seed=asked.seed,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            label_names=["labels"],
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))},
    )
    trainer.head_lr = asked.head_lr
    trainer.train()
    scores = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    result = {"validation": max(scores), "by_epoch": scores, "steps": trainer.state.global_step}
    if asked.test:
        judged = rows(asked.test, tokenizer, asked.tokens, classes)
        result["test"] = trainer.evaluate(judged)["eval_accuracy"]  # type: ignore[arg-type]  # a list is a data set
    asked.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
