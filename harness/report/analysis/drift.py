"""Describe in sentences how the cells of an earlier study changed when they were run again."""

from __future__ import annotations

from collections.abc import Sequence

from harness.formatting.values import listed, percent, plural, score, setting
from harness.report.cells.cell_summary import CellSummary, facts, rows
from harness.report.cells.row_names import name as name_of
from harness.report.cells.row_predictions import read_predictions, same_test_rows, text_digests
from harness.report.cells.settings import Settings
from harness.report.reading.predictions import Predictions, Unreadable
from harness.report.reading.study import Study, flat
from harness.statistics import scale_of
from harness.statistics.drift import Change, drift

_MOST = 8  # cells described one by one
_VERSIONS = ("device_name", "device", "python", "harness", "torch", "transformers", "peft", "numpy", "model_digest")


def moved(study: Study, anchor: Study, settings: Settings) -> list[str]:
    """Describe which cells changed since an earlier study by more than chance allows.

    Args:
        study: the later study.
        anchor: the earlier one.
        settings: the simultaneous confidence of all these statements.

    Returns:
        Sentences: first the cells that changed, then what could not be compared, and how the studies differ.
    """
    before = {row.cell.id: row for row in rows(anchor) if row.test_mean is not None}
    after = {row.cell.id: row for row in rows(study) if row.test_mean is not None}
    shared = [cell for cell in after if cell in before]
    if not shared:
        return [f"No cell of {anchor.name} has a test score in both studies, so nothing can be said of drift."]
    then, now, left_out = _read(shared, before, after)
    changes = drift(
        {cell: found.scores for cell, found in then.items()},
        {cell: found.scores for cell, found in now.items()},
        1 - settings.confidence,
        [cell for cell in then if same_test_rows(before[cell], then[cell], after[cell], now[cell])],
        {cell: scale_of(after[cell].cell.metric).span for cell in then},
        {cell: found.groups for cell, found in now.items() if found.groups is not None},
    )
    listing = list(after.values())
    sentences = [_headline(changes, anchor, settings), *_told(changes, after, listing)] if changes else []
    sentences += left_out
    sentences += _caveats(changes, before, after)
    missing = [name_of(row, listing) for cell, row in after.items() if cell not in before]
    if missing:
        sentences.append(f"Not in {anchor.name}: {listed(missing)}.")
    return sentences


def _read(
    shared: Sequence[str], before: dict[str, CellSummary], after: dict[str, CellSummary]
) -> tuple[dict[str, Predictions], dict[str, Predictions], list[str]]:
    then, now, reasons = {}, {}, []
    listing = list(after.values())
    for cell in shared:
        row = after[cell]
        if row.cell.metric != before[cell].cell.metric:
            reasons.append(f"{name_of(row, listing)} is not compared: it was judged by {before[cell].cell.metric}.")
            continue
        try:
            one, other = read_predictions(before[cell]), read_predictions(row)
        except Unreadable as reason:
            reasons.append(f"{name_of(row, listing)} is not compared: {reason}.")
            continue
        then[cell], now[cell] = one, other
    return then, now, reasons


def _headline(changes: Sequence[Change], anchor: Study, settings: Settings) -> str:
    found = [change for change in changes if change.moved]
    cells = plural(len(changes), "cell")
    sure = f"{100 * (1 - settings.confidence):.3g} % chance of any false alarm"
    if not found:
        return f"Against {anchor.name}, none of {cells} moved by more than chance allows ({sure})."
    verb = "moved"
    text = f"Against {anchor.name}, {len(found)} of {cells} {verb} by more than chance allows ({sure})"
    worse = sum(change.difference < 0 for change in found)
    if worse in (0, len(found)):
        return f"{text}, {'all for the worse' if worse else 'all for the better'}."
    return f"{text}: {worse} for the worse, {len(found) - worse} for the better."


def _told(changes: Sequence[Change], after: dict[str, CellSummary], listing: Sequence[CellSummary]) -> list[str]:
    found = [change for change in changes if change.moved]
    sentences = []
    for change in found[:_MOST]:
        row = after[change.cell]
        metric, sign = row.cell.metric, 1 if change.difference > 0 else -1
        low, high = sorted((sign * change.low, sign * change.high))
        unit = " points" if percent(metric) else ""
        words = "better" if sign > 0 else "worse"
        values = [score(row.better(value), metric) for value in (change.before, change.after)]
        sentence = f"{name_of(row, listing)} is {words} by {score(abs(change.difference), metric)}{unit} "
        sentence += f"({score(low, metric)} to {score(high, metric)}): {values[0]}, now {values[1]}"
        if change.scope == "models":
            sentence += "; with one seed this is of the trained models, not of the method"
        sentences.append(f"{sentence}.")
    if len(found) > _MOST:
        sentences.append(f"And {len(found) - _MOST} more.")
    return sentences


def _caveats(changes: Sequence[Change], before: dict[str, CellSummary], after: dict[str, CellSummary]) -> list[str]:
    """Describe what differs besides time: test rows, hyperparameters, versions."""
    sentences = []
    listing = list(after.values())
    other_rows = [name_of(after[change.cell], listing) for change in changes if not change.paired]
    if other_rows:
        sentences.append(f"On other test rows than then, so not compared row by row: {listed(other_rows)}.")
    unknown = [
        name_of(after[change.cell], listing)
        for change in changes
        if change.paired
        and _fingerprints(before[change.cell]) != _fingerprints(after[change.cell])
        and not (text_digests(before[change.cell]) and text_digests(after[change.cell]))
    ]
    if unknown:
        sentences.append(
            f"The data of {listed(unknown)} changed since then. Rows are paired by id and label; the records do not "
            "say whether the texts of the test rows are the same."
        )
    retuned = [
        name_of(after[change.cell], listing)
        for change in changes
        if after[change.cell].hyperparameters != before[change.cell].hyperparameters
    ]
    if retuned:
        be = "was" if len(retuned) == 1 else "were"
        sentences.append(f"With other hyperparameters than then {be} confirmed: {listed(retuned)}.")
    then, now = (_provenance([found[change.cell] for change in changes]) for found in (before, after))
    differing = [
        f"{key} ({listed(sorted(then[key]))}, now {listed(sorted(now[key]))})"
        for key in _VERSIONS
        if key in then and key in now and then[key] != now[key]
    ]
    if differing:
        sentences.append(f"The studies differ in {listed(differing, 10)}.")
    return sentences


def _fingerprints(row: CellSummary) -> set[str]:
    return {str(facts(record).get("fingerprint")) for record in row.evaluated}


def _provenance(cells: Sequence[CellSummary]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for row in cells:
        for record in row.evaluated:
            for key, value in flat(record.provenance).items():
                values.setdefault(key, set()).add(setting(value))
    return values
