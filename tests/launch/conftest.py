from __future__ import annotations

from pathlib import Path

import pytest

from harness.launch.slurm.submissions import Jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """The submissions of a study that has none yet."""
    made = Jobs(tmp_path / "study")
    made.make()
    return made
