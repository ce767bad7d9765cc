"""Escape text from data and configurations for each output format.

Class names, error messages and paths come from files written by others. In a table they are text, never markup.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Characters that could close a script element or open markup, and the separators that older JavaScript treats as line
# ends. In JSON they occur inside strings only.
_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
# C0 and C1 control characters would act as terminal commands (tab and newline are folded by `plain`); a lone surrogate
# cannot be encoded.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Directional overrides and isolates reorder the surrounding text; right-to-left letters do not need them.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "±": r"$\pm$", "\u2212": "$-$", "…": r"\dots{}",  # characters that the reports use and some fonts lack
}  # fmt: skip
# An underscore inside a word is no emphasis in Markdown, so method names stay readable in the source.
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")


def plain(text: str, limit: int | None = None) -> str:
    """Fold text to one line without control characters; beyond `limit` characters it ends in an ellipsis."""
    line = " ".join(_BIDI.sub("", _CONTROL.sub(" ", text)).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def lines(text: str, limit: int) -> str:
    """Keep the lines of a text, without control characters, truncated to `limit` characters."""
    clean = _BIDI.sub("", _CONTROL.sub(" ", text.replace("\r\n", "\n")))
    return clean if len(clean) <= limit else f"{clean[:limit].rstrip()}…"


def json_text(content: Any) -> str:
    """Serialize to compact JSON that is safe inside a script element, whatever its strings contain."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_JSON)


def csv_text(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would read as a formula (a leading = + - @ or tab)."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table: no markup, HTML or pipe remains."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", escaped)


def latex(text: str) -> str:
    """Escape text for a cell of a LaTeX table."""
    return "".join(_LATEX.get(character, character) for character in plain(text))
