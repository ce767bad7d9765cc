"""A run's log."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from harness.runs.run_control import warnings_in_logs


@pytest.mark.filterwarnings("always")
def test_warnings_of_libraries_are_in_the_logs_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each log of a run under way has each warning once; the terminal has none."""
    logs = [tmp_path / "one.txt"]
    with warnings_in_logs(lambda: logs):
        for _ in range(2):
            warnings.warn("past_key_values is deprecated", FutureWarning, stacklevel=1)
        logs.append(tmp_path / "two.txt")
        warnings.warn("invariants are unchecked", stacklevel=1)
    assert (tmp_path / "one.txt").read_text().count("FutureWarning: past_key_values is deprecated (") == 1
    assert (tmp_path / "two.txt").read_text().startswith("UserWarning: invariants are unchecked (")
    assert capsys.readouterr() == ("", "")
    with pytest.warns(UserWarning, match="as before"):
        warnings.warn("as before", stacklevel=1)
