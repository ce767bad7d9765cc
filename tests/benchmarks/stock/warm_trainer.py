"""Trials of LoRA by the strongest ordinary practice: a warm process of several that share an Optuna journal.

Libraries, rows and weights are loaded once a process; each trial adapts a copy by transformers' Trainer and PEFT, with
dynamic padding. A process takes trials that wait in the journal until none does, so a slow one holds no other up.
A waiting trial has rank and lr, and its seed and number as attributes. Nothing of the harness is used.

    python tests/benchmarks/stock/warm_trainer.py --journal FILE --model DIR --train CSV --validation CSV --output JSON
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from peft import LoraConfig, get_peft_model
from trainer import MeanPooled, by_epoch, read, train  # the program beside this one
from transformers import AutoModel, AutoTokenizer, set_seed


def main() -> None:
    """Work until no trial waits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--journal", "--model", "--train", "--validation", "--output"):
        parser.add_argument(name, type=Path, required=True)
    for name, default in (("--batch", 32), ("--epochs", 3), ("--tokens", 128)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--head-lr", type=float, default=1e-3)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    asked = parser.parse_args()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(storage=JournalStorage(JournalFileBackend(str(asked.journal))), study_name="trials")
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    files, classes = read(asked, tokenizer, ("train", "validation"))
    backbone = AutoModel.from_pretrained(asked.model, add_pooling_layer=False)
    found = []

    def objective(trial: optuna.Trial) -> float:
        if "seed" not in trial.user_attrs:  # none waited, so the sampler drew one
            study.stop()
            raise optuna.TrialPruned
        rank = trial.suggest_categorical("rank", [4, 8, 16, 32])
        asked.lr = trial.suggest_float("lr", 1e-4, 3e-3, log=True)
        asked.seed = trial.user_attrs["seed"]
        set_seed(asked.seed)
        adapter = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.1, target_modules=["query", "value"])
        model = MeanPooled(get_peft_model(copy.deepcopy(backbone), adapter), len(classes))
        trainer = train(model, tokenizer, files, asked)
        score = by_epoch(trainer)[-1]
        found.append({"number": trial.user_attrs["number"], "accuracy": score, "steps": trainer.state.global_step})
        return score

    study.optimize(objective)
    asked.output.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
