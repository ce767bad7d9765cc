"""Greedy outputs for E2E NLG prompts by SmolLM2: transformers' `generate` row by row and batched, and ours.

    HARNESS_DATA=... python -m tests.benchmarks.generation --rows 500 --out tests/benchmarks/results/generation.json

Prompts are sorted by length for every side that batches. Times are CPU seconds of one thread, so that other processes
on the machine matter little. Before it counts, every side's texts are compared with those written row by row.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from harness.config.instantiate import build
from harness.tasks.text_generation.generation import Decoding, batches, generate, padded
from tests.helpers.small_dataset import ROOT

ASKED = "Write one sentence that describes: "
Texts = dict[int, str]


def prompts(tokenizer: Any, rows: int) -> list[list[int]]:
    """Chat prompts of different meaning representations of the test split, drawn with a fixed seed."""
    path = Path(os.environ["HARNESS_DATA"]) / "e2e_nlg" / "testset_w_refs.csv"
    with path.open(encoding="utf-8", newline="") as file:
        meanings = list(dict.fromkeys(row["mr"] for row in csv.DictReader(file)))
    chosen = random.Random(0).sample(meanings, min(rows, len(meanings)))
    chats = [[{"role": "user", "content": ASKED + meaning}] for meaning in chosen]
    return [tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False) for chat in chats]


def library(model: Any, tokenizer: Any, asked: Sequence[list[int]], size: int, new: int) -> list[str]:
    """`generate` in batches of like length."""
    found: Texts = {}
    for rows in batches([len(prompt) for prompt in asked], size):
        ids, mask = padded([asked[row] for row in rows], tokenizer.pad_token_id, True, model.device)
        with torch.inference_mode():
            written = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False)
        texts = tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        found |= dict(zip(rows, texts, strict=True))
    return [found[row] for row in range(len(asked))]


def ours(model: Any, tokenizer: Any, asked: Sequence[list[int]], size: int, new: int) -> list[str]:
    """The same by the family's own writer."""
    return [outputs[0].text for outputs in generate(model, tokenizer, asked, Decoding(max_new_tokens=new), size)]


def measure(write: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Return CPU seconds and texts."""
    start = time.process_time()
    texts = write()
    return time.process_time() - start, texts


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--new", type=int, default=64, help="max_new_tokens")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--alone", type=int, help="rows that are written row by row, which takes long (all)")
    parser.add_argument("--cache", default="~/.cache/harness")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    settings = yaml.safe_load((ROOT / "conf/model/smollm2.yaml").read_text(encoding="utf-8"))
    path = build(settings).resolve(given.cache).path
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    asked = prompts(tokenizer, given.rows)
    library(model, tokenizer, asked[:2], 2, 2)  # what only a first call does
    few = asked[: given.alone or len(asked)]
    alone, reference = measure(lambda: library(model, tokenizer, few, 1, given.new))
    sides = {f"{side.__name__}, {size} rows": (side, size) for size in given.sizes for side in (library, ours)}
    result: dict[str, Any] = {
        "rows": len(asked), "rows written row by row": len(few), "max_new_tokens": given.new,
        "tokens of those": sum(map(len, tokenizer(reference)["input_ids"])), "unit": "CPU seconds, one thread",
        "row by row, a row": round(alone / len(few), 2), "sides": {},
        "torch": torch.__version__, "transformers": transformers.__version__, "processor": platform.machine(),
    }  # fmt: skip
    for name, (side, size) in sides.items():
        seconds, texts = measure(lambda side=side, size=size: side(model, tokenizer, asked, size, given.new))  # type: ignore[misc]
        same = sum(one == two for one, two in zip(texts, reference, strict=False)) / len(few)
        each = seconds / len(asked)
        result["sides"][name] = {
            "a row": round(each, 3), "times faster than row by row": round(alone / len(few) / each, 2),
            "same texts": same,
        }  # fmt: skip
        print(name, result["sides"][name], flush=True)
    best = {
        side: min(value["a row"] for name, value in result["sides"].items() if name.startswith(side))
        for side in ("library", "ours")
    }
    result["best batched call / ours"] = round(best["library"] / best["ours"], 2)
    print(json.dumps(result, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
