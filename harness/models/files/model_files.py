"""Check from names, sizes and headers whether a directory holds a model that can be loaded, without importing torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, Problems
from harness.models.image_files.image_architectures import PROCESSOR, reads_images
from harness.models.sound_files.sound_architectures import reads_sounds
from harness.records.study_files import DESCRIPTION

WEIGHTS = "*.safetensors"  # the only format that is loaded: a pickle can execute code
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # names expected by transformers
# The files of a backbone. Only top-level files: repositories keep exports for other runtimes in folders.
PATTERNS = ("config.json", WEIGHTS, INDEX, "tokenizer*", "vocab*", "merges.txt", "*.spm",
            "special_tokens_map.json", "added_tokens.json", "*.model", PROCESSOR)  # fmt: skip
SETTINGS = "generation_config.json"
TEMPLATES = ("chat_template*", "additional_chat_templates/*")
GENERATION = (SETTINGS, *TEMPLATES)  # patterns of files that generation reads besides, no part of a backbone's digest
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model", "tokenizer.model")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")  # as saved by PEFT
NEED = "A model directory holds config.json, *.safetensors and a tokenizer, as save_pretrained writes them."
SHOWN = 3  # examples listed in a message

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OTHERS = {".gguf": "llama.cpp", ".onnx": "ONNX", ".h5": "TensorFlow", ".msgpack": "Flax", ".ot": "rust-bert"}
_LFS = b"version https://git-lfs"
_STARTS = {  # first bytes of files named *.safetensors that are something else
    _LFS: "a Git LFS pointer, not the file itself: run `git lfs pull` in its directory",
    b"<": "a web page, not weights: the download failed, fetch it anew",
    b"PK": "a ZIP archive or a pickle of torch.save, not safetensors: save the model again by save_pretrained",
    b"\x80": "a pickle of torch.save, not safetensors: save the model again by save_pretrained",
    b"GGUF": "a GGUF file, not safetensors: fetch the repository's safetensors weights",
}
_INTEGERS = ("I8", "U8", "I16", "U16", "I32", "U32")
_SCALES = ("weight_scale", "weight_scale_inv", ".scb", ".absmax", ".qzeros", ".scales")  # of quantizers


def check_directory(path: Path, what: str) -> None:
    """Check that a directory holds a model that can be loaded, as far as names, sizes and headers show.

    Args:
        path: the directory.
        what: its name in messages, such as `model.path=x`.

    Raises:
        HarnessError: lists all problems found.
    """
    problems = Problems()
    try:
        if place := _directory_problem(path, what):
            problems.add(place)
        else:
            _check_config(path, what, problems)
            _check_weights(path, what, problems)
            _check_tokenizer(path, what, problems)
    except (OSError, ValueError) as error:  # no permission, or a name that is too long or contains a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        problems.add(f"{what} cannot be read ({reason}). Make it readable, or name another directory.")
    problems.raise_any()


def check_generation(path: Path, what: str) -> None:
    """Check the files that generation reads besides, which transformers passes over in silence if they are broken.

    Args:
        path: a directory that `check_directory` has checked.
        what: its name in messages.

    Raises:
        HarnessError: lists all problems found.
    """
    problems = Problems()
    if (path / SETTINGS).is_file():
        try:
            _check_settings(_json(path / SETTINGS), _json(path / "config.json"), what, problems)
        except (HarnessError, UnicodeDecodeError) as error:
            problems.add(f"{what}: {error}")
    for file in sorted(each for pattern in TEMPLATES for each in path.glob(pattern) if each.is_file()):
        start = file.read_bytes()
        problems.check(not start.startswith(_LFS), f"{what}: {file.name} is {_STARTS[_LFS]}.")
    problems.raise_any()


def _check_settings(settings: Any, config: dict[str, Any], what: str, problems: Problems) -> None:
    if not problems.check(
        isinstance(settings, dict), f"{what}: {SETTINGS} holds no mapping of settings. Fetch or save the model again."
    ):
        return
    ends = settings.get("eos_token_id")
    size = config.get("vocab_size")
    for end in ends if isinstance(ends, list) else [ends]:
        whole = isinstance(end, int) and not isinstance(end, bool) and end >= 0
        problems.check(
            end is None or (whole and (not isinstance(size, int) or end < size)),
            f"{what}: {SETTINGS} has eos_token_id {end}, which is no token of the model"
            f"{f' (vocab_size {size})' if isinstance(size, int) else ''}, so its texts would not end. Correct it.",
        )


def header(file: Path) -> dict[str, tuple[str, list[int]]]:
    """Read the tensors' dtypes and shapes from a safetensors file, without the tensors: {name: (dtype, shape)}.

    Raises:
        HarnessError: the file is not in this format, or is incomplete.
    """
    from safetensors import SafetensorError, safe_open

    size = file.stat().st_size
    try:
        with safe_open(file, framework="np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 -- no mapping
            return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise HarnessError(f"{file.name} is {_why_broken(file, size, str(error))}.") from None


def weights_files(path: Path) -> list[Path]:
    """List the weights files that transformers loads from a checked directory: model.safetensors, else the shards."""
    if (path / WHOLE).is_file():
        return [path / WHOLE]
    shards: dict[str, str] = json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"]
    return [path / name for name in sorted(set(shards.values()))]


def content(file: Path) -> Any:
    """Return what a JSON file holds, without who wrote it; its hash if it is not JSON; None if it is not there."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    return (
        {key: value for key, value in found.items() if key != "transformers_version"}
        if isinstance(found, dict)
        else found
    )


def names(found: Iterable[object]) -> str:
    """List a few items, and the number of further ones."""
    listed = list(map(str, found))
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def _directory_problem(path: Path, what: str) -> str | None:
    """Return why a path is not the directory of one model; None if it may be."""
    # Subfolders as written by sentence-transformers, the hub's cache or a Trainer.
    inner = [] if (path / "config.json").is_file() else _inner(path)
    found = None
    if path.is_file():
        found = f"is a file. Name the directory that holds it, config.json and the tokenizer: {path.parent}."
    elif not path.is_dir():
        # The path may be meant as the name of a repository.
        hub = f" For a repository of the hub: model.hub={path}." if _REPOSITORY.fullmatch(str(path)) else ""
        found = f"is not a directory (current directory: {Path.cwd()}).{hub}"
    elif not os.access(path, os.R_OK | os.X_OK):
        found = "cannot be read (Permission denied). Make it readable: chmod -R u+rX."
    elif (path / DESCRIPTION).is_file():
        found = (
            "is what a run saved for harness.predict, not a backbone: it holds only what the method changed. Name the "
            "backbone that it adapts (harness.json: model)."
        )
    elif any((path / name).is_file() for name in ADAPTER):
        found = _adapter(path)
    elif inner:
        found = f"is not a model: it has no config.json, but folders in it have. Did you mean {names(inner)}?"
    return None if found is None else f"{what} {found}"


def _inner(path: Path) -> list[Path]:
    """Return the subfolders of a directory that hold a transformers model."""
    return sorted(
        file.parent
        for pattern in ("*/config.json", "snapshots/*/config.json")
        for file in path.glob(pattern)
        if any(file.parent.glob(WEIGHTS))
    )


def _adapter(path: Path) -> str:
    base = None
    with suppress(OSError, ValueError, AttributeError):
        base = json.loads((path / ADAPTER[0]).read_text(encoding="utf-8")).get("base_model_name_or_path")
    named = f" of {base}" if base else ""
    if (path / "config.json").is_file():
        return (
            f"holds a model and beside it a PEFT adapter{named}, which transformers would put on it. To load the model "
            "alone, move the files adapter_* out of the directory."
        )
    return (
        f"is a PEFT adapter{named}, not a model. Merge it (peft: AutoPeftModel.from_pretrained(...).merge_and_unload()"
        ".save_pretrained(...), and save the tokenizer beside it), or name its base instead."
    )


def _check_config(path: Path, what: str, problems: Problems) -> None:
    file = path / "config.json"
    if not problems.check(file.is_file(), f"{what} is not a model: it has no config.json. {NEED}"):
        return
    try:
        config: Any = _json(file)
    except HarnessError as error:
        problems.add(f"{what}: {error}")
        return
    if not problems.check(
        isinstance(config, dict) and isinstance(config.get("model_type"), str),
        f"{what}: config.json names no model_type, so its architecture is not known. Set it, such as "
        '"model_type": "bert", or save the model again by save_pretrained.',
    ):
        return
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        kind = quantized.get("quant_method", "fewer bits")
        problems.add(
            f"{what} holds weights that were quantized before ({kind}), which no method here trains on. Name the "
            "unquantized model; model.quantize=8bit or 4bit quantizes it."
        )


def _json(file: Path) -> Any:
    start = file.read_bytes()[: len(_LFS)]
    if start == _LFS:
        raise HarnessError(f"{file.name} is {_STARTS[_LFS]}.")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        state = f"is not JSON ({error})" if start else "is empty"
        raise HarnessError(f"{file.name} {state}: fetch or save the model again.") from None


def _check_weights(path: Path, what: str, problems: Problems) -> None:
    if (path / WHOLE).is_file():
        shards: dict[str, list[str]] = {WHOLE: []}
    elif (path / INDEX).is_file():
        try:
            shards = _shards(path)
        except HarnessError as error:
            problems.add(f"{what}: {error}")
            return
    else:
        problems.add(f"{what} is not a model: {_no_weights(path)}")
        return
    if missing := [name for name in shards if not (path / name).is_file()]:
        problems.add(
            f"{what} is incomplete: of the {len(shards)} files of weights that {INDEX} names, it lacks {len(missing)}: "
            f"{names(missing)}. Fetch or copy what is missing."
        )
        return
    for name, expected in shards.items():
        try:
            held = header(path / name)
        except HarnessError as error:
            problems.add(f"{what}: {error}")
            continue
        if lacks := [tensor for tensor in expected if tensor not in held]:
            problems.add(
                f"{what} is incomplete: {name} lacks {len(lacks)} tensors that {INDEX} lists for it: {names(lacks)}. "
                "Fetch or save the model again."
            )
        _check_types(name, held, what, problems)


def _shards(path: Path) -> dict[str, list[str]]:
    """Return the tensors that the index expects in each file."""
    try:
        weight_map = _json(path / INDEX)["weight_map"]
        shards: dict[str, list[str]] = {}
        for tensor, file in weight_map.items():
            shards.setdefault(str(file), []).append(tensor)
    except (KeyError, TypeError, AttributeError):
        raise HarnessError(f"{INDEX} has no weight_map: fetch or save the model again.") from None
    if not shards:
        raise HarnessError(f"{INDEX} names no files of weights: fetch or save the model again.")
    return dict(sorted(shards.items()))


def _check_types(name: str, held: dict[str, tuple[str, list[int]]], what: str, problems: Problems) -> None:
    problems.check(bool(held), f"{what}: {name} holds no tensors. Save the model again.")
    packed = [
        tensor
        for tensor, (dtype, shape) in held.items()
        if dtype in _INTEGERS and len(shape) > 1 and tensor.endswith("weight")
    ] + [tensor for tensor in held if tensor.lower().endswith(_SCALES)]
    if packed:
        types = ", ".join(sorted({held[tensor][0] for tensor in packed}))
        problems.add(
            f"{what}: {name} holds quantized weights ({names(packed)}; {types}), which no method here trains on. Name "
            "the unquantized model; model.quantize=8bit or 4bit quantizes it."
        )


def _no_weights(path: Path) -> str:
    files = sorted(file for file in path.iterdir() if file.is_file())
    if safe := [file.name for file in files if file.suffix == ".safetensors"]:
        if all("-of-" in name for name in safe):
            return f"it has {names(safe)}, but no {INDEX}, which says what is in which. Fetch that, too."
        return f"transformers looks for weights under the name {WHOLE}, and it has {names(safe)}. Rename the right one."
    if pickled := [file.name for file in files if file.suffix in _PICKLES and file.stem != "training_args"]:
        return (
            f"it has no {WEIGHTS}. It has {names(pickled)}: pickled weights are never loaded; convert them with "
            "save_pretrained(..., safe_serialization=True)."
        )
    if others := [file for file in files if file.suffix in _OTHERS]:
        formats = ", ".join(sorted({_OTHERS[file.suffix] for file in others}))
        return (
            f"it has no {WEIGHTS}. It has {names(file.name for file in others)}, made for {formats}: fetch the "
            "safetensors weights of the model that this was made from."
        )
    return f"it has no {WEIGHTS}. {NEED}"


def _check_tokenizer(path: Path, what: str, problems: Problems) -> None:
    with suppress(OSError, ValueError, AttributeError, RecursionError):  # `_check_config` reports these
        kind = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
        if reads_images(kind, path) or reads_sounds(kind, path):
            return  # `load_tokenizer` judges what it has in place of a tokenizer
    found = [path / name for name in TOKENIZERS if (path / name).is_file()]
    problems.check(bool(found), f"{what} has no tokenizer ({', '.join(TOKENIZERS)}). {NEED}")
    for file in found:
        with file.open("rb") as content:
            start = content.read(len(_LFS))
        if start == _LFS:
            problems.add(f"{what}: {file.name} is {_STARTS[_LFS]}.")
        problems.check(bool(start), f"{what}: {file.name} is empty. Fetch or save the tokenizer again.")


def _why_broken(file: Path, size: int, said: str) -> str:
    """Return what an invalid safetensors file is: the end of a sentence that begins with `is`."""
    if not size:
        return "empty: fetch or save the model again"
    with file.open("rb") as content:
        start = content.read(8)
        start += content.read(len(_LFS))
        for known, why in _STARTS.items():
            if start.startswith(known) and start[8:9] != b"{":  # else it starts with a header's length
                return why
        length = int.from_bytes(start[:8], "little")
        whole = 8 + length
        if length < size:
            content.seek(8)
            try:
                tensors = json.loads(content.read(length))
                whole += max(part["data_offsets"][1] for name, part in tensors.items() if name != "__metadata__")
            except (ValueError, KeyError, TypeError, AttributeError):
                whole = 0
        elif start[8:9] != b"{":
            whole = 0
    if whole > size:
        return f"cut short ({size:,} of {whole:,} bytes): fetch or copy it anew"
    return f"not a safetensors file, or damaged ({said}): fetch or save the model again"
