"""Text from data and configurations, made harmless for each format it is written to.

Class names, error messages and paths come from files that others wrote. In a table they are text, never markup.
"""

from __future__ import annotations

import json
import re
from typing import Any

# What could end a script element or begin markup, and what JavaScript once took for the end of a line. In JSON these
# occur inside strings only.
_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
# C0 and C1 controls (`plain` folds tab and newline) would reach a terminal as commands; half a surrogate pair is no
# text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Directional overrides and isolates reorder the text around them; right-to-left letters need none of these.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "±": r"$\pm$", "\u2212": "$-$", "…": r"\dots{}",  # signs of ours that not every font has
}  # fmt: skip
# An underscore inside a word never emphasises in Markdown, so method names stay readable in the source.
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")


def plain(text: str, limit: int | None = None) -> str:
    """Fold text to one line without control characters, of at most `limit` characters, the rest an ellipsis."""
    line = " ".join(_BIDI.sub("", _CONTROL.sub(" ", text)).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def lines(text: str, limit: int) -> str:
    """Keep the lines of a text, without control characters, cut after `limit` characters."""
    clean = _BIDI.sub("", _CONTROL.sub(" ", text.replace("\r\n", "\n")))
    return clean if len(clean) <= limit else f"{clean[:limit].rstrip()}…"


def json_text(content: Any) -> str:
    """Write compact JSON that can stand inside a script element whatever its strings hold."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_JSON)


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
