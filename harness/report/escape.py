"""Text from data and configurations, made harmless for each format it is written to.

Class names, error messages and paths come from files that others wrote. In a table they are text, never markup.
"""

from __future__ import annotations

import re

# C0 and C1 controls (`plain` folds tab and newline) would reach a terminal as commands; half a surrogate pair is no
# text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Directional overrides and isolates reorder the text around them; right-to-left letters need none of these.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
}  # fmt: skip
# An underscore inside a word never emphasises in Markdown, so method names stay readable in the source.
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")


def plain(text: str, limit: int | None = None) -> str:
    """Fold text to one line without control characters, of at most `limit` characters, the rest an ellipsis."""
    line = " ".join(_BIDI.sub("", _CONTROL.sub(" ", text)).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def csv_text(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would take for a formula (a leading = + - @ or tab)."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def markdown(text: str) -> str:
    """Escape a cell of a Markdown table: no markup, HTML or pipe is left."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", escaped)


def latex(text: str) -> str:
    """Escape a cell of a LaTeX table."""
    return "".join(_LATEX.get(character, character) for character in plain(text))
