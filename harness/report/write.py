"""From a study's directory to its report: the table in four formats, the page and the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.record import atomic, now
from harness.report.evidence import summary
from harness.report.figures import draw
from harness.report.load import Study, load
from harness.report.page import page
from harness.report.rows import Row, rows
from harness.report.table import to_csv, to_latex, to_markdown


@dataclass(frozen=True)
class Report:
    """What a study has found so far, and where it is written.

    Attributes:
        study: as loaded; its `warnings` say what could not be read.
        rows: a row per cell, by task, best first.
        summary: what was found, in sentences.
        output: the directory that holds index.html, table.md, table.csv, table.tex and figures/.
    """

    study: Study
    rows: list[Row]
    summary: list[str]
    output: Path

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.output / "index.html"


def write(study_dir: Path, output: Path) -> Report:
    """Write a study's report, replacing an earlier one file by file.

    Args:
        study_dir: `runs/<study>`; the study may still run.
        output: `reports/<study>`; made if it is missing.

    Raises:
        HarnessError: there is no study, nothing in it yet, or the report cannot be written.
    """
    study = load(study_dir)
    table = rows(study)
    sentences = summary(table)
    drawings = draw(table)
    files: dict[str, str | bytes] = {
        "table.csv": to_csv(table),
        "table.md": to_markdown(table, study.name, sentences),
        "table.tex": to_latex(table),
    }
    for drawing in drawings:
        files[f"figures/{drawing.name}.svg"] = drawing.svg
        files[f"figures/{drawing.name}.png"] = drawing.png
    files["index.html"] = page(study, table, sentences, drawings, now())
    try:
        for name, content in files.items():
            with atomic(output / name) as temporary:
                temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        _remove_stale(output / "figures", {Path(name).name for name in files})
    except OSError as error:
        raise HarnessError(
            f"The report cannot be written to {output} ({error.strerror or error}). Give a directory that can be "
            "written with --output (in a study: reports_dir=...), or make room."
        ) from error
    return Report(study, table, sentences, output)


def _remove_stale(figures: Path, kept: set[str]) -> None:
    """Remove figures of an earlier report of the same study whose question is gone."""
    for pattern in ("scores-*", "cost-*"):
        for path in figures.glob(pattern):
            if path.name not in kept and path.suffix in (".svg", ".png"):
                path.unlink()
