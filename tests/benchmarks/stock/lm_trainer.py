"""Trials of LoRA on a decoder as they are ordinarily run: transformers' Trainer, PEFT, dynamic padding.

Nothing of the harness is used. With one rank, rate and seed it is a process of one trial. With several it is a warm
process: libraries, rows and weights are loaded once, and each trial adapts a copy.

    python tests/benchmarks/stock/lm_trainer.py --model DIR --train JSONL --validation JSONL --output JSON --rank 8
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    set_seed,
)

IGNORED = -100


def rows(path: Path, tokenizer: Any, tokens: int) -> list[dict[str, Any]]:
    """Prompt, completion and end token of each row; the loss is that of the completion and the end."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = tokenizer(row["prompt"])["input_ids"]
        ids = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token)["input_ids"][:tokens]
        start = next((at for at, (a, b) in enumerate(zip(prompt, ids, strict=False)) if a != b), len(prompt))
        found.append(
            {
                "input_ids": ids,
                "attention_mask": [1] * len(ids),
                "labels": ([IGNORED] * start + ids[start:])[: len(ids)],
            }
        )
    return found


@torch.no_grad()
def loss(model: Any, collate: Any, held: list[dict[str, Any]], size: int) -> float:
    """Mean loss of the trained tokens of held-out rows, in batches of similar length."""
    model.eval()
    held = sorted(held, key=lambda row: -len(row["input_ids"]))
    total, count = 0.0, 0
    for start in range(0, len(held), size):
        batch = collate(held[start : start + size])
        labels = batch.pop("labels")[:, 1:]
        logits = model(**batch).logits[:, :-1]
        total += float(functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
        count += int((labels != IGNORED).sum())
    return total / count


def train(base: Any, tokenizer: Any, files: dict[str, Any], asked: argparse.Namespace, trial: int) -> dict[str, Any]:
    """Train a copy of the model, and judge it on the held-out rows."""
    rank, rate, seed = asked.rank[trial], asked.lr[trial], asked.seed[trial]
    set_seed(seed)
    targets = asked.targets
    adapter = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=16, lora_dropout=0.1, target_modules=targets)
    model = get_peft_model(copy.deepcopy(base) if len(asked.rank) > 1 else base, adapter)
    steps = asked.epochs * -(-len(files["train"]) // asked.batch)
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(asked.output.parent),
            per_device_train_batch_size=asked.batch,
            num_train_epochs=asked.epochs,
            learning_rate=rate,
            weight_decay=0.01,
            warmup_steps=int(0.06 * steps),
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            seed=seed,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=files["train"],
        data_collator=collate,
        processing_class=tokenizer,
    )
    trainer.train()
    return {"loss": loss(model, collate, files["validation"], 64), "steps": trainer.state.global_step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--train", "--validation", "--output"):
        parser.add_argument(name, type=Path, required=True)
    for name, default in (("--batch", 8), ("--epochs", 1), ("--tokens", 128)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--rank", type=int, nargs="+", default=[8])
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"])
    asked = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    files = {name: rows(getattr(asked, name), tokenizer, asked.tokens) for name in ("train", "validation")}
    base = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
    base.config.use_cache = False
    found = [train(base, tokenizer, files, asked, trial) for trial in range(len(asked.rank))]
    asked.output.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
