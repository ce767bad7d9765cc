"""Cores and memory are those that this process may use, not those of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.config.schema import Config, HardwareConfig, LaunchConfig
from harness.launch.devices import divide
from harness.planning.capacity import described, machine_memory, workers
from harness.system import resources
from harness.system.resources import memory_groups, usable_cores, usable_memory, usable_threads

GIB = 2**30


@pytest.fixture
def one_core() -> Iterator[None]:
    """Let this process be scheduled on one core only, as under `taskset -c 0`."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large host, outside of any Slurm job."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def grouped(root: Path, files: dict[str, str], listed: str) -> tuple[Path, Path]:
    """Write control groups; give where they lie and the file that says which ones this process is in."""
    for name, text in files.items():
        (root / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "groups" / name).write_text(text)
    (root / "process").write_text(listed)
    return root / "groups", root / "process"


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("files", "listed", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, "0::/\n", 64),
        ({"cpu.max": "400000 100000\n"}, "0::/\n", 4),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),  # a part of a core counts as one
        ({"cpu.max": "20000 100000\n"}, "0::/\n", 1),
        ({"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "max 100000\n"}, "0::/pod/box\n", 3),  # the parent's
        ({"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "200000 100000\n"}, "0::/pod/box\n", 2),
        ({"cpu.max": "500000 100000\n"}, "0::/docker/of/the/host\n", 5),  # a container sees the host's path
        ({"cpu/j/cpu.cfs_quota_us": "250000", "cpu/j/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/j\n0::/\n", 3),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "90000", "cpu,cpuacct/cpu.cfs_period_us": "30000"}, "3:cpu,cpuacct:/\n", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu:/\n4:cpuset:/\n", 64),
        ({"cpu.max": "nonsense"}, "0::/\n", 64),
    ],
)
def test_cores_are_those_of_the_tightest_quota(files: dict[str, str], listed: str, cores: int, tmp_path: Path) -> None:
    """Of both versions of control groups, of this process's group or of one above it."""
    assert usable_cores(*grouped(tmp_path, files, listed)) == cores


@pytest.mark.usefixtures("many_cores")
def test_a_group_s_name_may_have_any_bytes(tmp_path: Path) -> None:
    """Linux takes all but a line feed, which it escapes."""
    name = os.fsdecode(b"caf\xe9\x85 :x")
    root, process = grouped(tmp_path, {f"cpu/{name}/cpu.cfs_{key}_us": "100000" for key in ("quota", "period")}, "")
    process.write_bytes(b"9:name=systemd:/\n1:cpu:/" + os.fsencode(name) + b"\n0::/\n")
    assert usable_cores(root, process) == 1


@pytest.mark.usefixtures("many_cores")
def test_a_slurm_allocation_counts_where_nothing_binds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On this node; outside of a job such variables say nothing."""
    nowhere = (tmp_path, tmp_path / "none")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "4(x2)")
    assert usable_cores(*nowhere) == 64
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert usable_cores(*nowhere) == 4
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert usable_cores(*nowhere) == 2
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "")
    assert usable_cores(*nowhere) == 4


@pytest.mark.parametrize(("given", "threads"), [("", 8), ("3", 3), ("16", 8), ("2,1", 2), ("0", 8), ("many", 8)])
def test_the_user_s_own_limit_of_threads_is_kept(given: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS makes a run's threads fewer, never more; what launch.threads says goes before it."""
    monkeypatch.setattr(resources, "_THREADS", given)
    assert usable_threads(8) == threads
    assert divide(LaunchConfig(workers=1), gpus=0, cores=8) == (1, threads)
    assert divide(LaunchConfig(workers=1, threads=5), gpus=0, cores=8) == (1, 5)


@pytest.mark.usefixtures("one_core")
def test_plan_price_and_workers_agree_on_one_core(main: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Whatever the machine has."""
    assert workers(Config()) == (1, 1)
    assert workers(Config(launch=LaunchConfig(kind="inline"))) == (1, 1)
    price = described(Config(hardware=HardwareConfig("m", 1.0)))
    assert price is not None and price["cores"] == 1
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40)))
    code, printed = main("-m", "task=csv", "task.path=mine.csv", "method=nearest_mean", "plan=true", "calibrate=false")
    assert code == 0, printed
    assert "on 1 worker with 1 thread each" in printed


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_that_counts_is_the_least_of_machine_and_groups(version: int, tmp_path: Path) -> None:
    """A limit above the machine's memory, as version 1 has it for none, changes nothing."""
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    top = "memory/" if version == 1 else ""
    listed = "4:memory:/pod/box\n" if version == 1 else "0::/pod/box\n"
    files = {f"{top}{names[0]}": "9223372036854771712", f"{top}pod/box/{names[0]}": "max"}
    files |= {name.replace(names[0], names[1]): "5" for name in files}
    assert usable_memory(*grouped(tmp_path, files, listed)) == usable_memory(tmp_path, tmp_path / "none")
    files = {f"{top}pod/{names[0]}": str(GIB // 8), f"{top}pod/{names[1]}": "5"}
    assert usable_memory(*grouped(tmp_path, files, listed)) == GIB // 8
    memory = usable_memory()
    assert memory is not None and machine_memory() == memory / 2**20


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_of_a_job_is_that_of_its_control_group(version: int, tmp_path: Path) -> None:
    """A job of a cluster mostly sees the whole machine's groups, and is in one far below."""
    root, own = tmp_path / "groups", "slurm/job_7/step_0"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    top = root / "memory" if version == 1 else root
    (top / own).mkdir(parents=True)
    for folder, limit, used in ((top / own, "max", "5"), ((top / own).parent, "8000", "3000")):
        (folder / names[0]).write_text(limit)
        (folder / names[1]).write_text(used)
    stat = ("total_inactive_file 1000", "inactive_file 5") if version == 1 else ("inactive_file 1000",)
    ((top / own).parent / "memory.stat").write_text("\n".join(("anon 1", "active_file 7", *stat)) + "\n")
    process = tmp_path / "cgroup"
    process.write_text(f"4:cpu,memory:/{own}\n0::/\n" if version == 1 else f"0::/{own}\n")
    assert memory_groups(root, process) == [(8000.0, 2000.0)]  # 1000 cache files, and would be given up
    assert memory_groups(root, tmp_path / "nothing") == []
