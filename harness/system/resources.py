"""What this process may use of the machine: CPU cores and memory, within its affinity, control groups and Slurm job."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")  # where control groups are mounted
PROCESS = Path("/proc/self/cgroup")  # says which of them this process is in
# The user's own limit, as it was when the program started: the local launcher sets the variable for its workers.
_THREADS = os.environ.get("OMP_NUM_THREADS", "")


def usable_cores(root: Path = GROUPS, process: Path = PROCESS) -> int:
    """CPU cores that this process may keep busy at once; 1 or more.

    The least of: the cores it may be scheduled on (`taskset`, cpusets, Slurm's binding), the CPU quota of each control
    group that it is in (containers), and the CPUs of its Slurm allocation on this node where Slurm binds nothing. A
    quota of a part of a core counts as a whole one, as joblib and the JVM count it: rounded down, paid time would lie
    idle.

    Args:
        root, process: as for `memory_groups`.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        cores = os.cpu_count() or 1
    limits = [math.ceil(quota) for quota in _quotas(root, process)]
    return max(1, min([cores, *limits, *_allocated()]))


def usable_threads(cores: int) -> int:
    """CPU threads for a process that has so many cores: no more than OMP_NUM_THREADS says, where the user set it."""
    first = _THREADS.split(",")[0].strip()  # a list has one number for each level of nesting
    return max(1, min(cores, int(first))) if first.isdigit() and int(first) > 0 else max(1, cores)


def usable_memory(root: Path = GROUPS, process: Path = PROCESS) -> float | None:
    """Memory in bytes: the machine's, or that of a control group of this process where that is less; None if unknown.

    Args:
        root, process: as for `memory_groups`.
    """
    limits = [limit for limit, _ in memory_groups(root, process)]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limits.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min(limits, default=None)


def memory_groups(root: Path = GROUPS, process: Path = PROCESS) -> list[tuple[float, float]]:
    """Limit and use, in bytes, of each control group that this process is in and that limits memory; a job is one.

    Cached pages of files that were not touched lately count as free: the kernel drops them before it refuses memory.

    Args:
        root: where the groups lie; those of version 1 for memory in `memory`.
        process: says which are this process's: `0::/path`, or `4:memory:/path` in version 1.
    """
    found = []
    for group, version_1 in _groups("memory", root, process):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version_1 else ("memory.max", "memory.current")
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limit, used = (float((group / name).read_text("ascii")) for name in names)
            found.append((limit, used - _idle_cache(group, "total_inactive_file" if version_1 else "inactive_file")))
    return found


def _quotas(root: Path, process: Path) -> list[float]:
    """Cores' worth of time that each control group of this process may take, where that is limited."""
    found = []
    for group, version_1 in _groups("cpu", root, process):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit, and neither is -1 in version 1
            if version_1:
                quota, period = (
                    float((group / f"cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period")
                )
            else:
                quota, period = (float(word) for word in (group / "cpu.max").read_text("ascii").split())
            if quota > 0 and period > 0:
                found.append(quota / period)
    return found


def _allocated() -> list[int]:
    """CPUs that Slurm gave this job, or step, on this node; [] outside of a job."""
    if "SLURM_JOB_ID" not in os.environ:
        return []
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"):  # salloc's own shell has the second alone: `4(x2)`
        if found := re.match(r"[1-9]\d*", os.environ.get(name, "")):
            return [int(found.group())]
    return []


def _groups(controller: str, root: Path, process: Path) -> Iterator[tuple[Path, bool]]:
    """The process's control groups for a controller, from its own to the root, and whether each is of version 1.

    In a container the path that the process is told may be the host's; then only the root is there, which is its own.
    """
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        version_1 = controller in kinds.split(",")
        if kinds and not version_1:
            continue
        # Controllers that are mounted together lie in `cpu,cpuacct`; mostly there is a link `cpu`, too.
        top = next((root / name for name in (controller, kinds) if (root / name).is_dir()), root) if version_1 else root
        own = top / path.lstrip("/")
        for group in (own, *own.parents):
            yield group, version_1
            if group == top:
                break


def _idle_cache(group: Path, name: str) -> float:
    """Bytes of a control group that cache files and were not touched lately; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (group / "memory.stat").read_text("ascii").splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
    return 0.0
