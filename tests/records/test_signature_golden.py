"""Signatures and study identities of commands that were signed once: earlier records and studies stay valid.

`golden/signatures.json` was written by the version that still hashed class paths. A change that alters one of its
values makes the finished runs of such a command worthless, so its values are never written anew. New commands may be
added to COMMANDS: `python -m tests.test_signature_golden` appends those that the file does not hold.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from harness.cli import main
from harness.config.instantiate import build
from harness.config.schema import Config, TuneConfig
from harness.design import study_file
from harness.design.cells import StudyRequest, compose
from harness.design.prepared_cell import PreparedCell
from harness.records.signature import DEFAULTS_OF_LATER_KEYS, OPERATIONAL, digest, signature, without
from harness.report.reading.study import flat
from tests.helpers.small_dataset import ROOT, write_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "signatures.json"
RENAMED = {"launch.fuse": "launch.pack", "model.quantize": "model.quantise"}  # keys by their names of then
PHASES = ("single", "tune", "confirm")
OWN = "task=csv task.path=a.csv task.text=message task.label=topic task.name=own"
COMMANDS = (
    "",
    "method=full,last_layers,bitfit,gradual_unfreezing,setfit",
    "method=adalora,dora,eva,ia3,prompt_tuning,p_tuning,prefix_tuning,trainable_tokens,vera,oft",
    "method=houlsby,pfeiffer,knn,lda,ln_tuning,lora_plus,lora_all_linear",
    "task=banking77,sms_spam,poem_sentiment,german_credit,financial_phrasebank method=linear_probe task.shots=10",
    f"{OWN} task.text=[question,answer] task.validation=kfold method=lora",
    f"{OWN} task.positive=yes task.descriptions={{a:one,b:two}} task.metric=auroc method=zero_shot,full",
    "task=hub task.hub=ag_news task.name=news method=nearest_mean",
    "model=bert-base,roberta-base,modernbert-base,t5-base,gpt2 method=lora",
    "model=own model.path=somewhere model.name=mine model.pooling=cls method=full",
    "model.quantize=8 method=lora",
    "regularise=none,r_drop,[fgm,ema],mixout,layer_decay,label_smoothing method=bitfit",
    "augment=none,noise,eda,[noise,paraphrase] method=linear_probe,lora",
    "method=lora train.precision=bf16 train.schedule=cosine train.dropout=0.2 seed=5,6",
    "method=lora method.config.r=2,64 'train.lr=tag(log,interval(1e-5,1e-2))' tune.pruner=asha tune.trials=64",
    "method=lora,bitfit tune.mode=joint tune.objectives=[latency_p50_seconds] tune.constraints.peak_memory_mb=2000",
    "method=lora train.epochs=1,3 axes=[train.epochs] task.max_length=32,64",
    "method=lora launch.fuse=off device=cpu slurm=gpu cache_gb=1 tracker=tensorboard hardware=l4 keep=all",
    "method=linear_probe train.lr=0.5 train.precision=bf16 task.train_per_class=7 task.data_seed=3",
    "method=lora +method.config.bias=lora_only model.max_tokens=64 train.patience=2 train.stop_epoch=2",
)


def composed(command: str) -> StudyRequest:
    """The cells of `python -m harness -m <command>`."""
    main._register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        master = hydra.compose_config("config", shlex.split(command), RunMode.MULTIRUN, with_log_configuration=False)
        arguments = cast(list[str], list(master.hydra.overrides.task))
        return compose(hydra.config_loader, master, arguments)


def observed(command: str) -> dict[str, Any]:
    """What a command is known by: the study's default name, and a cell's signatures and question."""
    asked = composed(command)
    cells = [PreparedCell(cell, cell.resolve({}), "fingerprint", "digest", {}, ()) for cell in asked.cells]
    tune = cast(TuneConfig, OmegaConf.to_object(asked.config.tune))
    return {
        "study": study_file.default_name("study", cells, tune),
        "cells": {
            ready.cell.id: {
                "question": digest(study_file.identity(ready)),
                **{phase: signature(ready.base, phase, "fingerprint", "digest") for phase in PHASES},
            }
            for ready in cells
        },
    }


def fingerprints(directory: Path) -> dict[str, str]:
    """Of data that was generated, and of a file."""
    node = {"kind": "text_classification", "name": "a", "metric": "accuracy", "label": "topic"}
    file = write_rows(directory / "rows.csv", 9, seed=4)
    demo = composed("method=zero_shot").cells[0].resolve({})["task"]
    return {"demo": build(demo).load().fingerprint, "csv": build({**node, "path": str(file)}).load().fingerprint}


def keys() -> dict[str, list[str]]:
    """The keys that runs are signed with: those of the schema, and those that each YAML of a choice adds."""
    found = {"schema": sorted(flat(without(asdict(Config()), (*OPERATIONAL, "task", "model", "method"))))}
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        group = path.parent.name
        if group in ("task", "model", "augment", "method"):
            content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            node: dict[str, dict[str, Any]] = {
                "task": {"task": content},
                "model": {"model": content},
                "augment": {"augment": {path.stem: content}},
            }
            found[f"{group}/{path.stem}"] = sorted(
                key
                for key in flat(without(node.get(group, content), OPERATIONAL))
                if key.rpartition(".")[2] not in ("kind", "peft_type", "defaults")
            )
    return found


def forgotten(before: dict[str, list[str]], now: dict[str, list[str]]) -> list[str]:
    """Keys that earlier records were signed without, although nothing says how those stay valid."""
    return [
        f"{key} ({where}) would change the signature of every earlier run. If it is a key of the schema "
        "(harness/config/schema.py), declare it there with `later(default)`; else add it, with the value that changes "
        "nothing, to DEFAULTS_OF_LATER_KEYS in harness/records/signature.py. If it says where or how runs execute, add "
        "it to OPERATIONAL there."
        for where, found in now.items()
        for key in found
        if where in before and key not in before[where] and key not in DEFAULTS_OF_LATER_KEYS
    ]


def kept() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(GOLDEN.read_text(encoding="utf-8")))


def as_signed(command: str) -> str:
    """The command as it was typed when its signature was written."""
    for now, before in RENAMED.items():
        command = command.replace(now, before)
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_signed_once_is_signed_alike(command: str) -> None:
    """Neither where a class lies nor how it is called is part of it."""
    assert observed(command) == kept()["commands"][as_signed(command)]


def test_data_have_the_fingerprints_that_they_had(tmp_path: Path) -> None:
    """They are part of every signature."""
    assert fingerprints(tmp_path) == kept()["fingerprints"]


def test_a_new_key_says_what_keeps_earlier_signatures() -> None:
    """Those that were there when runs were first signed need not; of a new method's own keys none is in a record."""
    before, now = kept()["keys"], keys()
    assert not forgotten(before, now)
    assert not forgotten(before, now | {"method/new": ["method.new"]})
    later = {"schema": [*now["schema"], "train.new"], "task/csv": [*now["task/csv"], "task.new"]}
    told = forgotten(before, now | later)
    assert [line.split()[0] for line in told] == ["train.new", "task.new"]
    for name in re.findall(r"harness/[\w/]+\.py", told[0]):  # what it advises is there
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "def later(" in text or ("DEFAULTS_OF_LATER_KEYS" in text and "OPERATIONAL" in text)


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    found = kept() if GOLDEN.exists() else {"commands": {}}
    with TemporaryDirectory() as scratch:
        found.setdefault("fingerprints", fingerprints(Path(scratch)))
    found.setdefault(
        "keys", {name: [key for key in each if key not in DEFAULTS_OF_LATER_KEYS] for name, each in keys().items()}
    )
    found["commands"] = {each: found["commands"].get(each) or observed(each) for each in COMMANDS}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
