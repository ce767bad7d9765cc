"""What readers advise, in terms of what a user can set: options of a command, or only the file itself."""

from __future__ import annotations

import re

_CHOOSE = "Choose with task.text and task.label."
_ROW = "a text and a label"


def as_options(message: str) -> str:
    """Rewrite a message about a task's settings in terms of the command-line options."""
    message = message.replace(_CHOOSE, "Choose with --text COLUMN.")
    message = re.sub(r"'task\.separator=\"(.)\"'", r"--separator '\1'", message)
    message = re.sub(r"task\.columns=\[([^\]]*)\]", r"--columns \1", message)
    message = message.replace("task.quoting=false", "--no-quoting")
    message = re.sub(r"task\.(format|encoding|separator)=", r"--\1 ", message)
    return re.sub(r"task\.(format|encoding|separator|columns|text)\b", r"--\1", message)


def without_settings(message: str, columns: str = "", row: str = _ROW) -> str:
    """Rewrite a message about a file beside those of the task, whose format no key sets: the file itself is changed.

    Args:
        message: of a reader, in terms of the keys of the task's own files.
        columns: what names the file's columns, such as `task.passage_id and task.passage_text`; "": nothing does.
        row: what a row needs.
    """
    message = message.replace(_CHOOSE, f"Choose with {columns}." if columns else "Rename it.").replace(_ROW, row)
    message = re.sub(r"\bset task\.encoding=[\w-]+", "save it as UTF-8", message)
    message = re.sub(r"\bSet task\.encoding=[\w-]+", "Save it as UTF-8", message)
    message = re.sub(r"set 'task\.separator=\"(.)\"'", r"begin the file with a line sep=\1, or write commas", message)
    message = message.replace("set task.separator=tab", "write commas, or name it .tsv")
    message = message.replace(
        "where quotes enclose nothing, set task.quoting=false", "where quotes enclose nothing, write it as JSON lines"
    )
    message = re.sub(
        r"name the columns with task\.columns=\[[^\]]*\]", "write the names of the columns into a first line", message
    )
    message = re.sub(r"name their values with task\.columns=\[[^\]]*\], in their order", "write objects", message)
    message = re.sub(r"set task\.format to one of", "give it one that does, by its format:", message)
    return re.sub(r" \(task\.separator\)", "", message)
