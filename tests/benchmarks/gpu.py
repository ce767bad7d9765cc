"""Packs against solo steps by the size of the model: `python -m tests.benchmarks.gpu [--device cuda] [--json FILE]`.

Random weights do for speed, in float32 and with autocast, as the program holds them. Each case trains K members of LoRA
on one backbone, in turns and in shared passes, on rows of one length, and reports the seconds of a step of all by both,
their ratio, and the share of the device's peak that each uses. Without a GPU the cases run in small, and what they say
holds for that machine only.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.data.examples import Examples
from harness.data.tokenization import Tokens
from harness.models import PretrainedModel
from harness.models.cpu_kernels import use_fast_products
from harness.models.network import AdaptedModel
from harness.records.files import write_json
from harness.system.machine import device_name
from harness.tasks.text_classification.metrics import METRICS
from harness.tasks.text_classification.runtime import TextClassificationRuntime
from harness.training.fused import FusedGroup, fused_groups, share
from harness.training.loop import advance, gradients
from harness.training.session import TrainingSession

VOCABULARY, CLASSES = 2000, 20
WARM_UP, ROUNDS = 3, 7
# Dense bfloat16 products, FLOP a second, by a part of the device's name.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12}
LLAMA = {"num_key_value_heads": 8, "pad_token_id": 0}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "minilm": (
        "bert",
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    ),
    "roberta-base": (
        "roberta",
        {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
         "max_position_embeddings": 514},
    ),
    "decoder-1b": (
        "llama",
        LLAMA | {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "intermediate_size": 8192},
    ),
    "decoder-7b": (
        "llama",
        LLAMA | {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008},
    ),
}  # fmt: skip
SMALL = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 8, "intermediate_size": 256}


@dataclass(frozen=True)
class Case:
    """K members with a batch of rows each, and the ratio that is to be reached."""

    size: str
    sessions: int
    batch: int
    tokens: int
    goal: float

    @property
    def name(self) -> str:
        """As results show it."""
        return f"{self.size} K={self.sessions} {self.batch}x{self.tokens}"


CASES = (
    Case("minilm", 32, 16, 64, 8.0),
    Case("roberta-base", 16, 8, 64, 4.0),
    Case("decoder-1b", 8, 1, 128, 4.0),
    Case("decoder-7b", 4, 1, 128, 2.0),
    Case("minilm", 8, 64, 64, 0.95),
    Case("roberta-base", 8, 64, 64, 0.95),
    Case("decoder-1b", 4, 32, 128, 0.95),
)


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", default=sorted(SIZES), choices=sorted(SIZES), metavar="SIZE")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    use_fast_products()
    results = []
    for case in CASES:
        if case.size in asked.only:
            results.append(measure(case, torch.device(asked.device)))
            gc.collect()
            if asked.device == "cuda":
                torch.cuda.empty_cache()
            print(results[-1], flush=True)
            if asked.json:
                write_json(asked.json, results)


def measure(case: Case, device: torch.device) -> dict[str, Any]:
    """Let members take steps in turns and in shared passes, a round each in turn."""
    small = device.type != "cuda"
    if small:
        case = replace(case, sessions=min(case.sessions, 8), batch=min(case.batch, 4))
    kind, settings = SIZES[case.size]
    backbone = random_backbone(kind, settings | (SMALL if small else {}), device)
    sessions = [make(case, backbone, seed, device) for seed in range(case.sessions)]
    units = fused_groups(sessions)  # several, where memory is short
    assert all(isinstance(unit, FusedGroup) for unit in units), f"memory leaves some of {case.name} alone: {units}"
    for session in sessions:
        session.network.train()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(WARM_UP + ROUNDS):
        for packed in (True, False):
            seconds[packed].append(round_(sessions, units if packed else sessions, device))
    solo, shared = (statistics.median(seconds[packed][WARM_UP:]) for packed in (False, True))
    # Forward, and backward to the inputs alone: frozen weights need no gradients.
    flops = 4 * sum(p.numel() for p in backbone.parameters() if p.ndim > 1) * case.sessions * case.batch * case.tokens
    peak = next((peak for part, peak in PEAKS.items() if part in device_name(device.type)), None)
    return {
        "name": case.name,
        "scaled_down": small,
        "ratio": round(solo / shared, 3),
        "goal": case.goal,
        "solo_s": round(solo, 5),
        "packed_s": round(shared, 5),
        "crews": len(units),
        "utilisation_solo": None if peak is None else round(flops / solo / peak, 4),
        "utilisation_packed": None if peak is None else round(flops / shared / peak, 4),
        "hardware": device_name(device.type),
    }


def round_(
    sessions: Sequence[TrainingSession], units: Sequence[FusedGroup | TrainingSession], device: torch.device
) -> float:
    """A step of every member, by these units; its wall seconds."""
    start = time.perf_counter()
    for unit in units:
        for session, loss in gradients(unit):
            advance(session, loss)
            if session.progress.position == session.steps_per_epoch:
                session.progress.position, session.order = 0, []
    if device.type == "cuda":
        torch.cuda.synchronize()
    failures = [session.failure for session in sessions if session.failure is not None]
    assert not failures and not any(isinstance(unit, FusedGroup) and unit.broken for unit in units), failures
    return time.perf_counter() - start


def random_backbone(kind: str, settings: dict[str, Any], device: torch.device) -> nn.Module:
    """A backbone with random weights."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    config: Any = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **settings)
    with torch.device(device):
        backbone: nn.Module = AutoModel.from_config(config)  # type: ignore[no-untyped-call]  # it has no types
    return backbone.eval()


def make(
    case: Case, backbone: nn.Module, seed: int, device: torch.device, settings: dict[str, Any] | None = None
) -> TrainingSession:
    """A member of rank 8 on the backbone's own tensors; settings are keys of `train`."""
    method = build(
        {
            "kind": "peft",
            "name": "lora",
            "config": {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.1},
        }
    )
    # Copies of a large backbone would not fit beside each other; modules are copied, tensors are not.
    tensors = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    network = AdaptedModel(copy.deepcopy(backbone, tensors), "mean", CLASSES)
    hooks = method.adapt(network, PretrainedModel(name=case.size, path="unused"), 1000)
    draw = np.random.default_rng(seed)
    rows = 4 * case.batch
    ids = draw.integers(5, VOCABULARY, rows * case.tokens).astype(np.int32)
    tokens = Tokens(ids, np.arange(0, len(ids) + 1, case.tokens, dtype=np.int64), None, 0)
    session = TrainingSession(
        task=TextClassificationRuntime(tuple(map(str, range(CLASSES)))), network=network.to(device), hooks=hooks,
        config=TrainConfig(
            **{
                "batch_size": case.batch, "epochs": 1000, "precision": "bf16" if device.type == "cuda" else "fp32",
                "dropout_masks": "lanes", **(settings or {}),
            }
        ),
        train=Examples(tokens, draw.integers(0, CLASSES, rows), 0), validation=None, metric=METRICS["accuracy"],
        seed=seed, device=device, say=print,
    )  # fmt: skip
    share(session, backbone)
    return session


if __name__ == "__main__":
    main()
