"""One trial as it is ordinarily run, a process of its own: transformers' Trainer, PEFT's LoRA, dynamic padding.

Nothing of the harness is used. The network is the one that the harness trains, for a random pooler would not learn:
mean pooling, and a linear layer on 20 x the normalised vector.

    python tests/benchmarks/stock/trainer.py --model DIR --train CSV --validation CSV --output JSON [--rank 8 ...]
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
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed


class MeanPooled(nn.Module):
    """A backbone, the mean of its token vectors, and a linear layer."""

    def __init__(self, backbone: Any, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(backbone.config.hidden_size, classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, labels: Tensor | None = None, **batch: Tensor) -> dict[str, Tensor]:
        hidden = self.backbone(**batch).last_hidden_state
        weights = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        logits = self.head(20.0 * functional.normalize(mean, dim=-1))
        return (
            {"logits": logits}
            if labels is None
            else {"loss": functional.cross_entropy(logits, labels), "logits": logits}
        )


def rows(path: Path, tokenizer: Any, tokens: int, classes: list[str]) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    encoded = tokenizer([row["text"] for row in read], truncation=True, max_length=tokens)
    return [
        {name: encoded[name][index] for name in encoded} | {"labels": classes.index(row["label"])}
        for index, row in enumerate(read)
    ]


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


def train(model: MeanPooled, tokenizer: Any, files: dict[str, Any], asked: argparse.Namespace) -> TwoRates:
    """Train on `files["train"]` as `asked` says, judging `files["validation"]` after each epoch."""
    steps = asked.epochs * -(-len(files["train"]) // asked.batch)
    trainer = TwoRates(
        model=model,
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
            bf16=asked.bf16,
            use_cpu=not torch.cuda.is_available(),  # else bf16 is refused there
        ),
        train_dataset=files["train"],
        eval_dataset=files["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))},
    )
    trainer.head_lr = asked.lr if asked.head_lr is None else asked.head_lr
    trainer.train()
    return trainer


def by_epoch(trainer: Trainer) -> list[float]:
    """Validation accuracy after each epoch."""
    return [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]


def read(asked: argparse.Namespace, tokenizer: Any, names: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """The rows of the files that `asked` names, and the classes of the training rows."""
    with asked.train.open(encoding="utf-8", newline="") as file:
        classes = sorted({row["label"] for row in csv.DictReader(file)})
    return {name: rows(getattr(asked, name), tokenizer, asked.tokens, classes) for name in names}, classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--train", "--validation", "--output"):
        parser.add_argument(name, type=Path, required=True)
    for name, default in (("--rank", 8), ("--batch", 32), ("--epochs", 3), ("--tokens", 128), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--head-lr", type=float, help="default: --lr")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    asked = parser.parse_args()

    set_seed(asked.seed)
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    files, classes = read(asked, tokenizer, ("train", "validation"))
    adapter = LoraConfig(r=asked.rank, lora_alpha=2 * asked.rank, lora_dropout=0.1, target_modules=["query", "value"])
    backbone = AutoModel.from_pretrained(asked.model, add_pooling_layer=False)
    trainer = train(MeanPooled(get_peft_model(backbone, adapter), len(classes)), tokenizer, files, asked)
    scores = by_epoch(trainer)
    asked.output.write_text(
        json.dumps({"accuracy": scores[-1], "by_epoch": scores, "steps": trainer.state.global_step}), encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
