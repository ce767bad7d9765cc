"""CPU cores and memory available to this process, within its affinity, control groups and Slurm job."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")  # mount point of the control groups
PROCESS = Path("/proc/self/cgroup")  # lists the control groups of this process
# The user's own limit, read at program start because the local launcher sets the variable for its workers.
_THREADS = os.environ.get("OMP_NUM_THREADS", "")


def usable_cores(root: Path = GROUPS, process: Path = PROCESS) -> int:
    """Return the number of CPU cores that this process may keep busy at once; 1 or more.

    It is the minimum of: the cores that it may be scheduled on (`taskset`, cpusets, Slurm's binding), the CPU quota of
    each of its control groups (containers), and the CPUs of its Slurm allocation on this node, which matters if Slurm
    does not bind. Fractional quotas are rounded up, as in joblib and the JVM: rounding down would waste paid time.

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
    """Return the CPU threads for a process with `cores` cores: at most OMP_NUM_THREADS if the user has set it."""
    first = _THREADS.split(",")[0].strip()  # a list has one number per nesting level
    return max(1, min(cores, int(first))) if first.isdigit() and int(first) > 0 else max(1, cores)


def usable_memory(root: Path = GROUPS, process: Path = PROCESS) -> float | None:
    """Return the available memory in bytes: the machine's, or the limit of a control group if less; None if unknown.

    Args:
        root, process: as for `memory_groups`.
    """
    limits = [limit for limit, _ in memory_groups(root, process)]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limits.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min(limits, default=None)


def memory_groups(root: Path = GROUPS, process: Path = PROCESS) -> list[tuple[float, float]]:
    """Return (limit, use) in bytes of each memory-limiting control group of this process; a Slurm job is one.

    Inactive pages of the file cache count as free: the kernel drops them before it refuses memory.

    Args:
        root: mount point of the groups; in version 1 its subdirectory `memory` contains the memory groups.
        process: lists the groups of this process: `0::/path`, or `4:memory:/path` in version 1.
    """
    found = []
    for group, version_1 in _groups("memory", root, process):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version_1 else ("memory.max", "memory.current")
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit
            limit, used = (float((group / name).read_text("ascii")) for name in names)
            found.append((limit, used - _idle_cache(group, "total_inactive_file" if version_1 else "inactive_file")))
    return found


def _quotas(root: Path, process: Path) -> list[float]:
    """Return the CPU quota, in cores, of each control group of this process that has one."""
    found = []
    for group, version_1 in _groups("cpu", root, process):
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit, as does -1 in version 1
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
    """Return the CPUs that Slurm allocated to this job or step on this node; [] outside of a job."""
    if "SLURM_JOB_ID" not in os.environ:
        return []
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"):  # only the second exists in salloc's shell: `4(x2)`
        if found := re.match(r"[1-9]\d*", os.environ.get(name, "")):
            return [int(found.group())]
    return []


def _groups(controller: str, root: Path, process: Path) -> Iterator[tuple[Path, bool]]:
    """Yield this process's control groups of a controller, from its own to the root, and whether each is version 1.

    In a container the listed path may be the host's; then only the root exists, which is the container's own group.
    """
    try:
        lines = process.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return
    for line in filter(None, lines):  # a name may have any byte but a line feed, which the kernel escapes
        _, kinds, path = line.split(":", 2)
        version_1 = controller in kinds.split(",")
        if kinds and not version_1:
            continue
        # Controllers mounted together lie in e.g. `cpu,cpuacct`; usually there is a link `cpu`, too.
        top = next((root / name for name in (controller, kinds) if (root / name).is_dir()), root) if version_1 else root
        own = top / path.lstrip("/")
        for group in (own, *own.parents):
            yield group, version_1
            if group == top:
                break


def _idle_cache(group: Path, name: str) -> float:
    """Return the bytes of a control group's inactive file cache; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (group / "memory.stat").read_text("ascii").splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
    return 0.0
