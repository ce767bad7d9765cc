"""Write a study's report: the table in four formats, the page and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.api.family import families, part
from harness.errors import HarnessError
from harness.records.files import atomic, now
from harness.report.analysis.merge import merge
from harness.report.analysis.verdicts import evidence
from harness.report.cells.settings import Settings
from harness.report.figures import draw
from harness.report.page.page import page
from harness.report.reading.study import Study, load
from harness.report.tables.columns import cases
from harness.report.tables.definition import Definition, judged_by
from harness.report.tables.pivot import pivot_csv, pivot_latex, pivot_markdown
from harness.report.tables.report import Report
from harness.report.tables.table import to_csv, to_latex, to_markdown

# Prefixes of figure names, besides those of task families.
FIGURES = (
    "scores", "cost", "pairs", "trials", "epochs", "seconds", "learning", "rate", "importance", "ranks", "profile",
)  # fmt: skip


def write(
    studies: Path | Sequence[Path],
    output: Path,
    settings: Settings | None = None,
    definition: Definition | None = None,
    anchor: Path | None = None,
) -> Report:
    """Write a report of one or more studies, replacing an earlier one file by file.

    Args:
        studies: `runs/<study>` or its archive, one or several; a study may still be running.
        output: `reports/<study>`; created if missing.
        settings: how cells are compared; None takes the definition's settings, else the study's.
        definition: rows and columns to show; everything if None.
        anchor: an earlier study to test for drift against.

    Raises:
        HarnessError: a study does not exist or is still empty, the definition does not fit it, or the report cannot be
            written.
    """
    definition = definition or Definition()
    paths = [studies] if isinstance(studies, Path) else list(studies)
    loaded = [load(path) for path in paths]
    study, every = merge(loaded, definition.title)
    settings = settings or judged_by(study, definition)
    compared = definition.compared(every)
    found = evidence(study, compared, settings)
    shown = definition.shown(cases(compared, found))
    report = Report(
        study=study,
        studies=loaded,
        rows=[case.row for case in shown],
        summary=found.summary,
        output=output,
        evidence=found,
        cases=shown,
        columns=definition.columns,
        pivot=definition.pivot,
        hidden=len(compared) - len(shown),
        drift=_drift(study, anchor, settings),
    )
    drawings = draw(report.rows, found)
    files: dict[str, str | bytes] = {
        "table.csv": to_csv(report),
        "table.md": to_markdown(report),
        "table.tex": to_latex(report),
    }
    if report.pivot is not None:
        files |= {"pivot.csv": pivot_csv(report), "pivot.md": pivot_markdown(report), "pivot.tex": pivot_latex(report)}
    for drawing in drawings:
        files[f"figures/{drawing.name}.svg"] = drawing.svg
        files[f"figures/{drawing.name}.png"] = drawing.png
    files["index.html"] = page(report, drawings, now())
    try:
        for name, content in files.items():
            with atomic(output / name) as temporary:
                temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        _remove_stale(output, set(files))
    except OSError as error:
        raise HarnessError(
            f"The report cannot be written to {output} ({error.strerror or error}). Give a directory that can be "
            "written with --output (in a study: reports_dir=...), or make room."
        ) from error
    return report


def _drift(study: Study, anchor: Path | None, settings: Settings) -> list[str]:
    if anchor is None:
        return []
    from harness.report.analysis.drift import moved

    return moved(study, load(anchor), settings)


def _remove_stale(output: Path, kept: set[str]) -> None:
    """Remove outdated files of an earlier report in this directory: figures of groups that are gone, a pivot."""
    of_families = [name for family in families().values() for name in part(family.report).figures]
    for pattern in (*(f"figures/{kind}-*" for kind in (*FIGURES, *of_families)), "pivot.*"):
        for path in output.glob(pattern):
            if str(path.relative_to(output)) not in kept and path.suffix in (".svg", ".png", ".csv", ".md", ".tex"):
                path.unlink()
