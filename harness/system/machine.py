"""The machine of a run: device, memory, and the versions recorded with a result."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from harness.records.signature import NUMERICS_VERSION

SNAPSHOT = "snapshot.json"  # beside a package that is a study's snapshot: facts about its origin


def check_device(name: str) -> str:
    """Return the device that a `device` setting selects: cpu | cuda | mps. Imports torch only if necessary.

    Raises:
        HarnessError: the device is not available.
    """
    if name == "cpu":
        return name
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, is_there in there.items() if is_there)
    if not there.get(name, False):
        found = ", ".join(device for device, is_there in there.items() if is_there)
        raise HarnessError(
            f"device={name} is not available: torch {torch.__version__} finds {found}. Set device=auto, or install the "
            "driver and the build of torch that belong to it."
        )
    return name


def multiplies_bfloat16(device: str) -> bool:
    """Return whether a device (cpu | cuda | mps) has products of bfloat16 in hardware."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    facts = Path("/proc/cpuinfo")
    flags = facts.read_text(encoding="utf-8").split() if facts.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


class PeakMemory:
    """Peak memory since construction: of the GPU on cuda, else the resident memory of the process."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.resettable = False
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
            return
        # On Linux, writing 5 resets the peak (VmHWM); if that is refused, the peak of the whole process is used.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.resettable = True

    def megabytes(self) -> float:
        """Return the peak so far, in MiB."""
        if self.device == "cuda":
            import torch

            return float(torch.cuda.max_memory_allocated() / 2**20)
        if self.resettable:
            with contextlib.suppress(OSError, StopIteration, ValueError):
                lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
                return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
        # Kilobytes on Linux, bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@cache
def versions() -> dict[str, Any]:
    """Return the versions of the libraries, and the commit of the program's checkout if it runs from one.

    In a study's snapshot (see harness.system.code_snapshot) the commit is that of its source; `diff_sha256` is the
    digest of the diff to that commit, which is stored beside the snapshot, and `code` that of the snapshot's content.
    """
    copied = snapshot_facts()
    return {
        "harness": harness.__version__,
        "commit": _commit() if copied is None else _commit_of(copied),
        **({} if copied is None else {"diff_sha256": copied.get("diff_sha256"), "code": copied.get("code")}),
        "numerics_version": NUMERICS_VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft", "numpy", "scikit-learn")},
        "platform": platform.platform(),
    }


def snapshot_facts() -> dict[str, Any] | None:
    """Return the facts about the origin of the running snapshot; None if the program is not a snapshot."""
    path = Path(harness.__file__).resolve().parent.parent / SNAPSHOT
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else None
    return None


def scheduler() -> dict[str, Any]:
    """Return the Slurm facts of this process for the record's provenance; {} outside of a job."""
    if not (job := os.environ.get("SLURM_JOB_ID")):
        return {}
    return {
        "slurm": {
            "job_id": job,
            "array_job_id": os.environ.get("SLURM_ARRAY_JOB_ID"),
            "array_task_id": os.environ.get("SLURM_ARRAY_TASK_ID"),
            "node": os.environ.get("SLURMD_NODENAME"),
            "restarts": restarts(),
            "partition": os.environ.get("SLURM_JOB_PARTITION"),
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
    }


def restarts() -> int:
    """Return how often Slurm has restarted this job; 0 outside of a job."""
    said = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(said) if said.isdecimal() else 0


@cache
def device_name(device: str) -> str:
    """Return the name that the device reports."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError, StopIteration, IndexError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit_of(copied: dict[str, Any]) -> str | None:
    commit = copied.get("commit")
    return f"{commit}-dirty" if commit and copied.get("dirty") else commit


def _commit() -> str | None:
    root = Path(harness.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    # The output ends in `-dirty` if files differ from the commit.
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
