"""A GGUF file as a directory that transformers loads.

GGUF is llama.cpp's format, with quantized weights and the tokenizer in one file. transformers reads it, but would
dequantize it again in each run, so it is converted once.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.files.model_files import WHOLE
from harness.models.packaged.conversion import converted_once

FORMAT = 2  # of converted directories; increased when a conversion gives other files
SECONDS = 1800.0  # longest time of a conversion


def converted(file: Path, sha256: str, cache_dir: str | Path, model: str) -> Path:
    """Return the directory with a GGUF file's weights in float32 and its tokenizer; convert it if needed.

    Args:
        file: the GGUF file, its digest checked by the caller.
        sha256: its digest, which names the directory.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.

    Raises:
        HarnessError: the package gguf is not installed, the cache cannot be written, or transformers cannot read the
            file.
    """
    name = f"{sha256[:32]}-{FORMAT}"
    if not (Path(cache_dir).expanduser() / "converted" / name / WHOLE).is_file() and not importlib.util.find_spec(
        "gguf"
    ):
        raise HarnessError(
            f"model={model} is a GGUF file, and the package gguf, which reads it, is not installed: "
            "pip install 'gguf>=0.19'."
        )
    return converted_once(
        "harness.models.packaged.gguf", name, file, cache_dir, model, SECONDS,
        note=f"model={model}: converting {file.name} for later runs, about a minute.\n",
        needs="It needs about 2 GB of memory and a transformers that reads GGUF files of this architecture.",
    )  # fmt: skip


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


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
