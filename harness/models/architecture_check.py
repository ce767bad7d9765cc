"""Check a model before a study starts: build its architecture without memory and compare it with its files.

Building it needs torch, which the coordinator does not load. So a separate process does it, once for each model on a
machine. Successful checks are cached by the model's digest.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError, Problems
from harness.models.files.model_files import weights_files
from harness.models.pretrained import INTERACTIONS, LANGUAGE, PretrainedModel, ResolvedModel
from harness.records.files import write_json
from harness.records.signature import digest

FORMAT = 2  # of the cached results; increased when more is checked
KEYS = ("problems", "notes", "longest", "layers")  # of a check; `longest`: longest input in tokens
SECONDS = 600.0  # timeout; after it, problems show only when runs load the model


def examined(model: PretrainedModel, resolved: ResolvedModel, cache_dir: str | Path) -> ResolvedModel:
    """Check a resolved model; return it with notes for the user.

    A model whose digests are pinned and verified is checked only if longer inputs are requested.

    Args:
        model: as configured.
        resolved: its files.
        cache_dir: where successful checks are cached.

    Raises:
        HarnessError: its weights, tokenizer or vocabulary do not fit its architecture, or `max_tokens` is too large.
    """
    if resolved.architecture == INTERACTIONS:
        return resolved
    # Even a pinned model may be an encoder, and be named for a task that writes texts.
    if model.digests and model.max_tokens is None and model.pooling != LANGUAGE:
        return resolved
    versions = [harness.__version__, *map(_version, ("transformers", "tokenizers"))]
    own = LANGUAGE if model.pooling == LANGUAGE else model.pooling == "model"
    key = digest([FORMAT, resolved.digest, own, versions])[:32]
    file = Path(cache_dir).expanduser() / "models" / f"{key}.json"
    found = _read(file)
    if found is None:
        found = _examine_apart(model, resolved)
        if found is None:
            return resolved
        if not found["problems"]:
            with suppress(OSError):
                write_json(file, found)
    problems = Problems()
    problems.messages.extend(found["problems"])
    longest = found.get("longest")
    problems.check(
        longest is None or model.max_tokens is None or model.max_tokens <= longest,
        f"model.max_tokens={model.max_tokens} is more than model={model.name} reads: {longest}. Set "
        f"model.max_tokens={longest} or less; null takes what it reads.",
    )
    problems.raise_any()
    return replace(resolved, notes=(*resolved.notes, *found["notes"]), layers=tuple(found["layers"]))


def examine(resolved: ResolvedModel, pooling: str) -> dict[str, Any]:
    """Compare a model's files with its architecture; return the facts of `KEYS`."""
    import torch
    from safetensors import safe_open

    from harness.models.input_limits import check_vocabulary, longest_input
    from harness.models.loading import load_weights
    from harness.models.network import load_tokenizer
    from harness.models.pooling import width
    from harness.models.weights_check import check_finite

    what = f"The model at {resolved.path} ({resolved.source})"
    problems, facts = Problems(), dict[str, Any]()
    try:
        loaded = load_weights(resolved, pooling, 2, device_map={"": "meta"})
        width(loaded.backbone)
        facts["notes"] = list(loaded.notes)
        facts["layers"] = [
            name for name, layer in loaded.backbone.named_modules() if name and [*layer.parameters(recurse=False)]
        ]
        for file in weights_files(resolved.path):
            with torch.no_grad(), safe_open(file, framework="pt") as opened:
                held = (name for name in opened.keys() if name not in loaded.unused)  # noqa: SIM118 -- no mapping
                check_finite(((name, opened.get_tensor(name)) for name in held), what)
        tokenizer = load_tokenizer(resolved)
        if pooling == LANGUAGE and resolved.reads == "text":
            _check_writes(tokenizer, what)
        if resolved.reads == "text":
            check_vocabulary(loaded.backbone, tokenizer, what)
            facts["longest"] = longest_input(loaded.backbone, tokenizer)
    except HarnessError as error:
        problems.extend(error)
    return {"notes": [], "longest": None, "layers": [], **facts, "problems": problems.messages}


def _check_writes(tokenizer: Any, what: str) -> None:
    """Check that a tokenizer has an end token, and that its chat template can be read.

    Raises:
        HarnessError: it has none, or the template is no Jinja template.
    """
    from jinja2 import TemplateSyntaxError

    if tokenizer.eos_token_id is None:
        raise HarnessError(
            f"{what}: its tokenizer has no end token (eos_token), so a text that it writes has no end. Set eos_token "
            "in its tokenizer_config.json."
        )
    if tokenizer.chat_template is None:
        return
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    except TemplateSyntaxError as error:
        raise HarnessError(
            f"{what}: its chat template is no Jinja template ({error.message}, line {error.lineno}). Correct it, or "
            "fetch the model again."
        ) from error
    except Exception:  # noqa: BLE001 -- a template may refuse this conversation; tasks check their own
        return


def _examine_apart(model: PretrainedModel, resolved: ResolvedModel) -> dict[str, Any] | None:
    """Check a model in a separate process, or in this one if torch is loaded; return None if that is not possible."""
    if _has_torch():
        return examine(resolved, model.pooling)
    package = str(Path(harness.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    asked = json.dumps({"resolved": asdict(resolved) | {"path": str(resolved.path)}, "pooling": model.pooling})
    # Python's option -P excludes the current directory, whose files may have the names of modules.
    command = [sys.executable, "-P", "-m", "harness.models.architecture_check", asked]
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    with suppress(OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError):
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=SECONDS
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return {key: found[key] for key in KEYS}
    return None


def _has_torch() -> bool:
    return "torch" in sys.modules and "transformers" in sys.modules


def _read(file: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return {key: found[key] for key in KEYS}
    return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def main(asked: str) -> None:
    """Check a model and print the result as JSON on the last line."""
    wanted = json.loads(asked)
    fields = wanted["resolved"]
    resolved = ResolvedModel(**fields | {"path": Path(fields["path"]), "notes": tuple(fields["notes"])})
    sys.stdout.write("\n" + json.dumps(examine(resolved, wanted["pooling"])) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
