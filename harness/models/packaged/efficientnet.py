"""The weights of EfficientNet-Lite0 in a package as a directory that transformers loads: converted once a machine.

The package has a pickled state dict of the original names. It is read with `weights_only`, which runs no code, after
the caller has checked its digest. Imports no torch: the coordinator has none, so a separate process converts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import harness
from harness.errors import HarnessError
from harness.models.files.model_files import WHOLE
from harness.models.image_files.image_architectures import PROCESSOR

FORMAT = 1  # of converted directories; increased when a conversion gives other files
SECONDS = 600.0  # longest time of a conversion
# Resizing and normalization of the original: (byte - 127) / 128, bicubic to 224 x 224.
SETTINGS = {
    "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [127 / 255] * 3,
    "image_processor_type": "ViTImageProcessor", "image_std": [128 / 255] * 3, "resample": 3,
    "rescale_factor": 1 / 255, "size": {"height": 224, "width": 224},
}  # fmt: skip


def converted(file: Path, sha256: str, cache_dir: str | Path, model: str) -> Path:
    """Return the directory with the weights as safetensors, config.json and the image processor; convert if needed.

    Several processes may ask at once: one of them converts, the others wait.

    Args:
        file: the state dict, its digest checked by the caller.
        sha256: its digest, which names the directory.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.

    Raises:
        HarnessError: the cache cannot be written, or the weights do not fit.
    """
    from filelock import FileLock

    folder = Path(cache_dir).expanduser() / "converted"
    target = folder / f"{sha256[:32]}-{FORMAT}"
    if (target / WHOLE).is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{target.name}.lock"):
            if not (target / WHOLE).is_file():
                _convert_apart(file, target, model)
    except OSError as error:
        raise HarnessError(
            f"model={model}: {file.name} cannot be converted, because {folder} cannot be written "
            f"({error.strerror or error}). Free space there, or set cache_dir to a directory that can be written."
        ) from None
    return target


def convert(file: Path, target: Path) -> None:
    """Write the model as `save_pretrained` does.

    Args:
        file: the state dict.
        target: a directory that exists.

    Raises:
        RuntimeError: tensors are missing, or have other shapes.
    """
    import torch

    from harness.models.image_files.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

    held = torch.load(file, map_location="cpu", weights_only=True)
    named = {".".join(part.removeprefix("_") for part in name.split(".")): tensor for name, tensor in held.items()}
    weights = {name: tensor for name, tensor in named.items() if not name.startswith("fc.")}  # the head of ImageNet
    network = EfficientNetLiteModel(EfficientNetLiteConfig())
    network.load_state_dict(weights, strict=True)
    network.save_pretrained(target)
    (target / WHOLE).chmod(0o644)  # safetensors lets nobody else read it
    (target / PROCESSOR).write_text(json.dumps(SETTINGS, indent=2) + "\n", encoding="utf-8")


def _convert_apart(file: Path, target: Path, model: str) -> None:
    """Convert in a separate process, into a directory that is then renamed. The caller holds the lock.

    Raises:
        HarnessError: the weights do not fit.
        OSError: the directory cannot be written.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    package = str(Path(harness.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    # Python's option -P excludes the current directory, whose files may have the names of modules.
    command = [sys.executable, "-P", "-m", "harness.models.packaged.efficientnet", str(file), str(temporary)]
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=SECONDS, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise HarnessError(f"model={model}: {file} cannot be converted: {reason.rstrip('.')}.")
        temporary.rename(target)
    except subprocess.TimeoutExpired:
        raise HarnessError(
            f"model={model}: converting {file} took more than {SECONDS:.0f} s. Try again on a machine with less load."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
