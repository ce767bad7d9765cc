"""Conversations from the columns of a source: prompt and completion, templates, messages, or plain text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.data.readers.file_formats import Columns
from harness.data.readers.rows import group_names
from harness.errors import HarnessError, Problems, nearest
from harness.formatting.examples import short, some
from harness.tasks.text_generation.data import Conversation, Message
from harness.tasks.text_generation.templates import Template

ROLES = ("system", "user", "assistant", "tool")


class Misfit(ValueError):
    """A row that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class Raw:
    """The rows of a split.

    Attributes:
        rows: one for each conversation; its completion is its first reference.
        references: of each row, all texts that count as right.
        ids: row numbers in the source.
        groups: the group of each row; [] if the task names none.
    """

    rows: list[Conversation] = field(default_factory=list)
    references: list[tuple[str, ...]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Form:
    """Which columns a row is made of. Exactly one of `completion`, `doc_to_target`, `messages` and `text` is given.

    Attributes:
        prompt, completion: columns.
        doc_to_text, doc_to_target: templates in place of these columns.
        messages: column of a list of {role, content}.
        text: column of a text without a prompt.
        choices: column of lists of texts, one of which is the completion: its text, or its place counted from 0.
        slots: column of lists of texts that a right output contains.
        chat: whether prompt and completion become messages.
        system: system message of these; None: none.
        group: column of what rows have in common; None: none.
    """

    prompt: str | None = None
    completion: str | None = None
    doc_to_text: Template | None = None
    doc_to_target: Template | None = None
    messages: str | None = None
    text: str | None = None
    choices: str | None = None
    slots: str | None = None
    chat: bool = False
    system: str | None = None
    group: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that are named, without those of templates."""
        return [
            name for name in (self.prompt, self.completion, self.messages, self.text, self.choices, self.slots) if name
        ]

    @property
    def templates(self) -> list[Template]:
        """The templates."""
        return [each for each in (self.doc_to_text, self.doc_to_target) if each is not None]

    def read(self, columns: Columns, where: str) -> Raw:
        """Make the rows of a split.

        Args:
            columns: the columns of the source, of n rows.
            where: name of the source, for messages.

        Raises:
            HarnessError: columns or parts of rows are missing; all problems at once.
        """
        problems = Problems()
        names = list(columns)
        for name in self.columns:
            problems.check(
                name in names,
                f"{where} has no column {name!r}. {nearest(name, names)} A task of text generation takes task.prompt "
                "and task.completion, task.doc_to_text and task.doc_to_target, task.messages, or task.text.",
            )
        if self.group is not None:
            require = f"{where} has no column {self.group!r}. {nearest(self.group, names)} Choose with task.group."
            problems.check(self.group in names, require)
        for template in self.templates:
            template.check(names, where, problems)
        problems.raise_any()
        raw, wrong = Raw(), dict[str, list[int]]()
        count = len(next(iter(columns.values()), []))
        for index in range(count):
            record = {name: values[index] for name, values in columns.items()}
            try:
                row, references = self._row(record)
            except Misfit as misfit:
                wrong.setdefault(str(misfit), []).append(index + 1)
                continue
            raw.rows.append(row)
            raw.references.append(references)
            raw.ids.append(index)
        for message, numbers in wrong.items():
            problems.add(
                f"{where}: {message}: row{'s' if len(numbers) > 1 else ''} {some(numbers)} of {count} (counted from 1, "
                "without a header). Mend or remove them."
            )
        problems.raise_any()
        if not raw.rows:
            raise HarnessError(f"{where} holds no rows.")
        if self.group is not None:
            raw.groups.extend(_joined(raw, group_names(columns[self.group], self.group, where)))
        return raw

    def _row(self, record: Mapping[str, Any]) -> tuple[Conversation, tuple[str, ...]]:
        slots = _slots(record[self.slots], self.slots) if self.slots else ()
        if self.messages:
            messages = _messages(record[self.messages], self.messages)
            last = messages[-1]["content"]
            return Conversation(tuple(messages[:-1]), last, slots=slots), (last,)
        if self.text:
            text = _text(record[self.text], self.text)
            return Conversation("", text), (text,)
        prompt = _made(record, self.doc_to_text, self.prompt)
        choices = _choices(record[self.choices], self.choices) if self.choices else ()
        references = _references(record, self.doc_to_target, self.completion)
        if choices:
            references = tuple(_right(reference, choices) for reference in references)
        shown: str | tuple[Message, ...] = prompt
        if self.chat:
            before = [{"role": "system", "content": self.system}] if self.system else []
            shown = (*before, {"role": "user", "content": prompt})
        return Conversation(shown, references[0], choices, slots), references


def _slots(value: Any, column: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Misfit(f"column {column!r} holds no list of the texts that an output has to contain")
    return tuple(dict.fromkeys(_text(each, column).strip() for each in value))


def _choices(value: Any, column: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise Misfit(f"column {column!r} holds no list of two choices or more")
    found = tuple(_text(each, column) for each in value)
    if len(set(found)) < len(found):
        raise Misfit(f"a choice in column {column!r} stands twice")
    return found


def _right(reference: str, choices: tuple[str, ...]) -> str:
    if reference in choices:
        return reference
    if reference.isdecimal() and int(reference) < len(choices):
        return choices[int(reference)]
    raise Misfit(f"the completion {short(reference)} is neither one of the choices nor the place of one, from 0")


def _made(record: Mapping[str, Any], template: Template | None, column: str | None) -> str:
    if template is not None:
        found = template.render(record)
        if not found.strip():
            raise Misfit(f"{template.key} gives an empty text")
        return found
    assert column is not None
    return _text(record[column], column)


def _references(record: Mapping[str, Any], template: Template | None, column: str | None) -> tuple[str, ...]:
    if template is not None:
        return (_made(record, template, column),)
    assert column is not None
    value = record[column]
    if isinstance(value, list | tuple):
        if not value:
            raise Misfit(f"the list of references in column {column!r} is empty")
        if kinds := {type(each).__name__ for each in value if not isinstance(each, str)}:
            raise Misfit(
                f"references in column {column!r} are of different kinds, texts and {', '.join(sorted(kinds))}"
            )
        return tuple(_text(each, column) for each in value)
    return (_text(value, column),)


def _text(value: Any, column: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:  # noqa: PLR0124 -- not NaN
        return str(int(value)) if float(value).is_integer() else str(value)
    if value is None or isinstance(value, float):
        raise Misfit(f"there is no text in column {column!r}")
    if not isinstance(value, str):
        raise Misfit(f"column {column!r} holds {type(value).__name__} {short(value)} and no text")
    if not value.strip():
        raise Misfit(f"the text in column {column!r} is empty")
    return value


def _messages(value: Any, column: str) -> list[Message]:
    """Check the messages of a row: roles, their order, and that the assistant has the last word."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise Misfit(f"column {column!r} holds no list of messages but a text that is no JSON") from None
    if not isinstance(value, list | tuple) or not value:
        raise Misfit(f"column {column!r} holds no list of messages, [{{role: user, content: ...}}, ...]")
    messages = []
    for message in value:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise Misfit(f"a message in column {column!r} has no role and content: {short(message)}")
        role = message.get("role")
        if role not in ROLES:
            raise Misfit(
                f"a message in column {column!r} has the unknown role {short(role)}; known: {', '.join(ROLES)}"
            )
        messages.append({"role": str(role), "content": message["content"]})
    _check_turns(messages, column)
    return messages


def _check_turns(messages: Sequence[Message], column: str) -> None:
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        raise Misfit(f"in column {column!r} a system message is not the first")
    spoken = [role for role in roles if role not in ("system", "tool")]
    if any(one == two for one, two in itertools.pairwise(spoken)):
        raise Misfit(f"in column {column!r} user and assistant do not alternate ({', '.join(roles)})")
    if not spoken or spoken[0] != "user":
        raise Misfit(f"in column {column!r} the user does not begin ({', '.join(roles)})")
    if roles[-1] != "assistant":
        raise Misfit(f"in column {column!r} the last message is not the assistant's ({', '.join(roles)})")
    if not messages[-1]["content"].strip():
        raise Misfit(f"in column {column!r} the assistant's last message is empty")


def _joined(raw: Raw, groups: Sequence[str]) -> list[str]:
    """Join groups with a prompt in common, which would otherwise stand in two splits, under the name of the first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    same = [first.setdefault(key, len(first)) for key in (*groups, *(f"\0{key}" for key in prompt_keys(raw)))]
    ends = same[: len(groups)], same[len(groups) :]
    graph = coo_array((np.ones(len(groups)), ends), shape=(len(first), len(first)))
    part = connected_components(graph, directed=False)[1][ends[0]].tolist()
    names: dict[int, str] = {}
    return [names.setdefault(number, group) for number, group in zip(part, groups, strict=True)]


def grouped(raw: Raw) -> Raw:
    """Join rows with equal prompt, choices and slots into one, with all their references; it stands at the first."""
    places: dict[str, int] = {}
    found = Raw()
    for index, (row, references, id_) in enumerate(zip(raw.rows, raw.references, raw.ids, strict=True)):
        key = json.dumps([_key(row), row.choices, row.slots], ensure_ascii=False)
        if row.prompt and key in places:
            place = places[key]
            found.references[place] = tuple(dict.fromkeys((*found.references[place], *references)))
            continue
        places[key] = len(found)
        found.rows.append(row)
        found.references.append(references)
        found.ids.append(id_)
        found.groups.extend(raw.groups[index : index + 1])
    return found


def ungrouped(raw: Raw) -> Raw:
    """Make a row of each reference, to train on all of them."""
    found = Raw()
    for index, (row, references, id_) in enumerate(zip(raw.rows, raw.references, raw.ids, strict=True)):
        for reference in references:
            found.rows.append(replace(row, completion=reference))
            found.references.append((reference,))
            found.ids.append(id_)
            found.groups.extend(raw.groups[index : index + 1])
    return found


def chosen(raw: Raw, keep: Callable[[int], bool]) -> Raw:
    """Return the rows whose index is kept."""
    kept = [index for index in range(len(raw)) if keep(index)]
    groups = [raw.groups[i] for i in kept] if raw.groups else []
    return Raw([raw.rows[i] for i in kept], [raw.references[i] for i in kept], [raw.ids[i] for i in kept], groups)


def prompt_keys(raw: Raw) -> list[str]:
    """Return for each row a text that is equal for equal prompts; rows without a prompt have their text's."""
    return [_key(row) if row.prompt else row.completion for row in raw.rows]


def _key(row: Conversation) -> str:
    return row.prompt if isinstance(row.prompt, str) else json.dumps(row.prompt, ensure_ascii=False, sort_keys=True)
