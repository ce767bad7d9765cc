"""A GGUF file as a directory that transformers loads: converted once a machine, then shared. Imports no torch.

GGUF is llama.cpp's format, with quantized weights and the tokenizer in one file. transformers reads it, but would
dequantize it again in each run. So it is converted once, in a separate process: the coordinator has no torch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from harness.models.files.model_files import WHOLE

FORMAT = 2  # of converted directories; increased when a conversion gives other files
SECONDS = 1800.0  # longest time of a conversion


def converted(file: Path, sha256: str, cache_dir: str | Path, model: str) -> Path:
    """Return the directory with a GGUF file's weights in float32 and its tokenizer; convert it if needed.

    Several processes may ask at once: one of them converts, the others wait.

    Args:
        file: the GGUF file, its digest checked by the caller.
        sha256: its digest, which names the directory.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.

    Raises:
        HarnessError: the package gguf is not installed, the cache cannot be written, or transformers cannot read the
            file.
    """
    from filelock import FileLock

    folder = Path(cache_dir).expanduser() / "converted"
    target = folder / f"{sha256[:32]}-{FORMAT}"
    if (target / WHOLE).is_file():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise HarnessError(
            f"model={model} is a GGUF file, and the package gguf, which reads it, is not installed: "
            "pip install 'gguf>=0.19'."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{target.name}.lock"):
            if not (target / WHOLE).is_file():
                sys.stderr.write(f"model={model}: converting {file.name} for later runs, about a minute.\n")
                _convert_apart(file, target, model)
    except OSError as error:
        raise HarnessError(
            f"model={model}: {file.name} cannot be converted, because {folder} cannot be written "
            f"({error.strerror or error}). Free space there, or set cache_dir to a directory that can be written."
        ) from None
    return target


def convert(file: Path, target: Path) -> None:
    """Write a GGUF file's model as `save_pretrained` does: float32 safetensors, config.json and the tokenizer.

    Args:
        file: the GGUF file.
        target: a directory that exists.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, options = str(file.parent), {"gguf_file": file.name, "local_files_only": True}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit:
        tokenizer.model_max_length = limit  # the file gives the tokenizer no limit
    # The weights are ordinary numbers now; with this entry transformers would look for the GGUF file.
    del model.config.quantization_config
    model.config.save_pretrained(target)
    model.generation_config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    # Of layers that share weights the first is kept, the embedding, which a backbone without a head has, too.
    held: dict[int, str] = {}
    tensors = {n: t.contiguous() for n, t in model.state_dict().items() if held.setdefault(t.data_ptr(), n) == n}
    save_file(tensors, str(target / WHOLE), metadata={"format": "pt"})
    (target / WHOLE).chmod(0o644)  # safetensors lets nobody else read it


def _convert_apart(file: Path, target: Path, model: str) -> None:
    """Convert in a separate process, into a directory that is then renamed. The caller holds the lock.

    Raises:
        HarnessError: transformers cannot read the file.
        OSError: the directory cannot be written.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    package = str(Path(harness.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    # Python's option -P excludes the current directory, whose files may have the names of modules.
    command = [sys.executable, "-P", "-m", "harness.models.packaged.gguf", str(file), str(temporary)]
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=SECONDS, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise HarnessError(
                f"model={model}: {file} cannot be converted: {reason.rstrip('.')}. It needs about 2 GB of memory and "
                "a transformers that reads GGUF files of this architecture."
            )
        temporary.rename(target)
    except subprocess.TimeoutExpired:
        raise HarnessError(
            f"model={model}: converting {file} took more than {SECONDS:.0f} s. Try again on a machine with less load."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
