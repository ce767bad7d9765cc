"""What memory a pack may count on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.packed.memory import groups


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
    process = tmp_path / "cgroup"
    process.write_text(f"4:cpu,memory:/{own}\n0::/\n" if version == 1 else f"0::/{own}\n")
    assert groups(root, process) == [(8000.0, 3000.0)]
    assert groups(root, tmp_path / "nothing") == []
