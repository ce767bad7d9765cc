"""Text from data, configurations and error messages stays text in every format."""

from __future__ import annotations

import csv
import re
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.formatting.escape import csv_text, latex, markdown, plain
from harness.report import Report, text_table, write
from harness.report.tables.definition import Definition
from harness.report.tables.report import Pivot
from tests.report.conftest import FACTS, Builder, asked
from tests.report.test_report import Page, read

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</title></style></script><b>x",
    "{{ 7 * 7 }}{% raw %}",
    "-->]]><!--",
    '=HYPERLINK("http://x","y")',
    "a | b\n| c",
    "[bold red]x[/] \x1b[31mred\x07",
    "$\\frac{1}{0}$ \\input{/etc/passwd} 50% #_{}~^",
    "\u202eevil\u202c مرحبا שלום",
    "x" * 10_000,
    "\x00\x08",
]


def named(directory: Path, name: str) -> Report:
    """The report of a study that holds a text wherever one can stand."""
    builder = Builder(directory / "runs" / "study")
    facts = FACTS | {"warnings": [name], "selected_with": name, name: name}
    entry = asked("a.b.c", task=name, model=name, method=name, variant={name: name}, space={name: name})
    builder.sweep([entry, entry | {"id": "a.b.d"}, entry | {"id": "a.b.e"}], name=name, created=name)
    metrics = {"val": {"accuracy": 0.4, name: 0.4}, "test": {"accuracy": 0.5, name: 0.5}}
    common = {"data": facts, "provenance": {name: name}, "hyperparameters": {name: name}, "variant": {name: name}}
    cost = {name: 1.0, "train_seconds": 2.0, "device": name}
    common |= {"task": name, "model": name, "method": name, "cost": cost, "metrics": metrics}
    for cell in ("a.b.c", "a.b.d"):
        builder.run(cell, "c1", phase="confirm", seed=1, **common)
    for number in range(2):
        builder.run("a.b.c", f"t{number}", trial=number, **common)
    builder.run("a.b.e", "t0", trial=0, status="failed", error=name, **common)
    return write(builder.directory, directory / "out")


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a study whose texts are a word."""
    return Page(read(named(tmp_path_factory.mktemp("harmless"), "word").output))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_markup(harmless: Page, tmp_path: Path, text: str) -> None:
    """Names, values, errors, warnings and facts: the page has no other elements than with harmless text."""
    report = named(tmp_path, text)
    source = read(report.output)
    assert "<script>alert" not in source
    assert "onerror=alert(1)>" not in source.replace("&gt;", "")  # only in its escaped form
    Console(file=StringIO()).print(text_table(report))
    hostile = Page(source)
    # A figure leaves out a name that is too long, so it may have fewer elements, never more.
    assert not Counter(hostile.tags) - Counter(harmless.tags)
    assert {name for name, _ in hostile.attributes} <= {name for name, _ in harmless.attributes}
    table = list(csv.DictReader((report.output / "table.csv").open(encoding="utf-8", newline="")))
    assert len(table) == 3
    assert not any(row[name].startswith(("=", "+", "-", "@")) for row in table for name in ("task", "method", "error"))
    assert not re.search("[\x00-\x08\x1b]", source + read(report.output, "table.md"))


@pytest.mark.usefixtures("no_figures")
def test_hostile_heads_of_a_pivot_stay_text(study: Builder, tmp_path: Path) -> None:
    """In the page, in CSV, Markdown and LaTeX."""
    texts = ["=1+1", "<b>x</b>", "a|b", "50% $x$"]
    study.sweep([asked(f"a.b.c{n}", method=text, variant={"axis": text}) for n, text in enumerate(texts)])
    for number, text in enumerate(texts):
        metrics = {"val": {}, "test": {"accuracy": 0.5}}
        values = {"method": text, "variant": {"axis": text}, "metrics": metrics}
        study.run(f"a.b.c{number}", "c1", phase="confirm", seed=1, **values)
    definition = Definition(pivot=Pivot("method", "axis", "method"))
    page = write(study.directory, tmp_path, definition=definition).page.read_text(encoding="utf-8")
    assert "<b>x</b>" not in page
    table = list(csv.reader((tmp_path / "pivot.csv").open(encoding="utf-8", newline="")))
    assert sorted(table[0][1:]) == sorted(["'=1+1", *texts[1:]])
    assert not any(text.startswith("=") for line in table for text in line)
    assert r"| a\|b |" in read(tmp_path, "pivot.md")
    assert "<b>" not in read(tmp_path, "pivot.md")
    assert r"50\% \$x\$" in read(tmp_path, "pivot.tex")


def test_page_runs_no_script_but_its_own(reported: Report) -> None:
    """A content security policy names the hash of the one script and allows no other source."""
    page = Page(read(reported.output))
    policy = next(value for name, value in page.attributes if name == "content" and value and "default-src" in value)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", policy)
    assert page.tags.count("script") == 2  # the details of runs are data, which never runs


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("+1", "'+1"), ("-a", "'-a"), ("@x", "'@x"), ("\tx", "'\tx"), ("lora", "lora"), ("", "")],
)
def test_formulas_are_defused_in_csv(text: str, cell: str) -> None:
    """Spreadsheets take a leading = + - @ or tab for a formula."""
    assert csv_text(text) == cell


def test_markdown_and_latex_keep_the_words() -> None:
    """Special characters are escaped, names stay readable."""
    assert markdown("a|b <i> linear_probe *x* `y` $z$") == r"a\|b &lt;i&gt; linear_probe \*x\* \`y\` \$z\$"
    assert latex(r"a_b & 50% {x} \y") == r"a\_b \& 50\% \{x\} \textbackslash{}y"


def test_plain_text_is_one_line_without_controls() -> None:
    """Newlines fold, escape sequences and directional overrides go, long text ends in an ellipsis."""
    assert plain("a\n b\x1b[31m \u202ec \ud800") == "a b [31m c"
    assert plain("abcdef", 4) == "abc…"
