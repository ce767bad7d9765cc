"""Jinja templates that make prompts and completions of a row's columns, as in lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError, Problems, nearest
from harness.formatting.examples import short


class Template:
    """A template over the columns of a row, in Jinja's sandbox.

    Args:
        source: the template, such as `Question: {{question}}`.
        key: the key of the configuration, for messages.

    Raises:
        HarnessError: it is not a Jinja template.
    """

    def __init__(self, source: str, key: str) -> None:
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self.source, self.key = source, key
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        try:
            self._template = self._environment.from_string(source)
        except TemplateSyntaxError as error:
            raise HarnessError(
                f"{key}={short(source)} is no Jinja template: {error.message} (line {error.lineno})."
            ) from error

    @property
    def columns(self) -> list[str]:
        """The columns that it names, in order of their names."""
        from jinja2 import meta

        return sorted(meta.find_undeclared_variables(self._environment.parse(self.source)))

    def check(self, columns: Sequence[str], where: str, problems: Problems) -> None:
        """Report names that are no columns, and a template without any."""
        named = set(self.columns)
        problems.check(
            bool(named),
            f"{self.key}={short(self.source)} names no column, so it is the same for every row. Name columns in double "
            f"braces: {{{{{columns[0] if columns else 'column'}}}}}. Columns of {where}: {', '.join(columns)}.",
        )
        for name in sorted(named - set(columns)):
            problems.add(f"{self.key} names {name}, and {where} has no such column. {nearest(name, columns)}")

    def render(self, row: Mapping[str, Any]) -> str:
        """Return the text of a row.

        Raises:
            HarnessError: an expression of the template fails on it.
        """
        from jinja2 import TemplateError

        try:
            return self._template.render(row)
        except (TemplateError, TypeError, ValueError, ZeroDivisionError) as error:
            raise HarnessError(f"{self.key}={short(self.source)} fails on a row: {error}.") from error
