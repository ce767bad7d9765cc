"""The table in the terminal, at several widths."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from harness.formatting.console import new_console
from harness.report import text_table, write


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_an_error_stands_on_a_line_of_its_own(finished: Path, tmp_path: Path, width: int) -> None:
    """Whole words of it, whatever the terminal's width; the table keeps names and scores."""
    report = write(finished, tmp_path)
    console = new_console(width=width, file=StringIO(), record=True)
    console.print(text_table(report, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert "ia3 failed: IA3 found no module named" in " ".join(" ".join(lines).split())
    assert any("linear_probe" in line for line in lines)
