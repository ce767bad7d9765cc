"""What watching a served model has shown, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.formatting.values import plural
from harness.serve.watching.judging import BLOCK, FEEDBACK, Finding, Look
from harness.serve.watching.watch import Score, Watched


def as_text(found: Watched) -> str:
    """Return it in words."""
    lines = [
        f"{found.model} ({found.digest}): {found.rows:,} answers from {found.start[:16]} to {found.end[:16]} (UTC), "
        f"compared with {found.reference_rows:,} {found.reference} rows.",
        *_verdict(found),
    ]
    if found.looks:
        shown = found.first or found.looks[-1]
        lines += [f"At look {shown.number}:", *(_finding(each) for each in shown.findings)]
        if shown is not found.looks[-1]:
            lines += [f"At the last look, {len(found.looks)}:", *(_finding(each) for each in found.looks[-1].findings)]
    if found.unsure or found.out_of_scope:
        share = (found.unsure + found.out_of_scope) / max(found.rows, 1)
        lines.append(f"Withheld answers: {share:.1%} ({found.unsure} unsure, {found.out_of_scope} out of scope).")
    if found.live is not None:
        lines.append(f"Right by feedback: {_score(found.live)}; study: {_score(found.expected)}.")
    lines += [f"Note: {note}" for note in found.notes]
    return "\n".join(lines) + "\n"


def as_json(found: Watched) -> dict[str, Any]:
    """Return it as JSON."""
    first = found.first
    return {
        "model": str(found.model), "digest": found.digest, "drift": found.drift,
        "first": None if first is None else _look(first),
        "last": _look(found.looks[-1]) if found.looks else None,
        "looks": len(found.looks), "earlier": len(found.earlier), "error": found.error,
        "answers": found.rows, "from": found.start, "to": found.end,
        "reference": {"rows": found.reference_rows, "of": found.reference},
        "withheld": {"unsure": found.unsure, "out_of_scope": found.out_of_scope},
        "live_score": None if found.live is None else asdict(found.live),
        "study_score": asdict(found.expected), "notes": list(found.notes),
    }  # fmt: skip


def _verdict(found: Watched) -> list[str]:
    if not found.looks:
        return [f"No drift is told yet: the first look is after {BLOCK} answers."]
    promise = (
        f"{plural(len(found.recent), 'look')} in the last week of statistics; without drift, on average "
        f"at most {found.error:.0%} of weeks tell any."
    )
    earlier = found.earlier
    before = (
        [f"Before that, {len(earlier)} of {len(found.looks) - len(found.recent)} looks told drift, the last at "
         f"{earlier[-1].time[:16]}."]
        if earlier
        else []
    )  # fmt: skip
    first = found.first
    if first is None:
        return [f"No drift. {promise}", *before]
    what = ", ".join(each.kind for each in first.findings if each.drift)
    now = "still" if found.looks[-1].drift else "no longer"
    place = f"look {first.number} ({first.time[:16]}), after {first.rows:,} answers"
    return [f"Drift of {what}: first told at {place}; {now} at the last look. {promise}", *before]


def _finding(found: Finding) -> str:
    """Return a line about one test."""
    size = "" if found.size is None else f", stability index {found.size:.3f} ({found.chance:.3f} by chance)"
    mark = "DRIFT" if found.drift else "as before"
    unit = "answers with feedback" if found.kind == FEEDBACK else "answers"
    # Which shares moved is worth a line where something has; by chance some always do.
    many = found.changes if found.drift else found.changes[:1]
    changed = "; ".join(f"{what}: {before:.1%} -> {after:.1%}" for what, before, after in many)
    return f"  {found.kind:<10} {mark:<9} last {found.rows:,} {unit}, p {found.p:.2g}{size}; {changed}"


def _score(score: Score) -> str:
    return f"{score.share:.1%} of {score.rows:,} ({score.low:.1%} to {score.high:.1%})"


def _look(look: Look) -> dict[str, Any]:
    return {
        "number": look.number, "time": look.time, "answers": look.rows,
        "findings": [
            {
                "kind": each.kind, "drift": each.drift, "answers": each.rows, "p": each.p, "level": each.level,
                "stability_index": each.size, "by_chance": each.chance,
                "changes": [{"what": what, "before": before, "now": now} for what, before, now in each.changes],
            }
            for each in look.findings
        ],
    }  # fmt: skip
