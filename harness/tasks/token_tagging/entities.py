"""Entities that tags mark, read as seqeval and the CoNLL evaluation read them. Imports no torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from harness.tasks.token_tagging.data import OUTSIDE

SCHEMES = ("BIO", "BIOES", "IO")
ENDING = ("E-", "S-")  # prefixes that only BIOES has
PREFIXES = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}
# The rule that a tag breaks, for messages; tags of IO break none.
RULES = {"BIO": "I- continues an entity of its type", "BIOES": "an entity is S-, or B-, any I- and E- of one type"}


class Entity(NamedTuple):
    """An entity: its type, and its words `start` to `end`, the end excluded."""

    type: str
    start: int
    end: int


@lru_cache(maxsize=1 << 16)
def entities(tags: tuple[str, ...], strict: bool = False) -> tuple[Entity, ...]:
    """Return the entities of a sentence.

    Args:
        tags: one a word.
        strict: whether an entity counts only if its BIOES tags are complete (seqeval's strict mode); else a tag that
            follows no entity of its type begins one.
    """
    if all(tag == OUTSIDE for tag in tags):
        return ()
    if strict:
        from seqeval.scheme import IOBES, Entities

        return tuple(Entity(each.tag, each.start, each.end) for each in Entities([list(tags)], IOBES).entities[0])
    from seqeval.metrics.sequence_labeling import get_entities

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags without a prefix, which the reader refuses
        return tuple(Entity(kind, start, end + 1) for kind, start, end in get_entities(list(tags)))


def is_strict(sentences: Sequence[Sequence[str]]) -> bool:
    """Return whether tags are of BIOES, whose entities are read strictly."""
    return any(tag.startswith(ENDING) for tags in sentences for tag in tags)


def encoded(found: Sequence[Entity], words: int, scheme: str) -> tuple[str, ...]:
    """Return the tags (words,) of entities that do not overlap."""
    tags = [OUTSIDE] * words
    for entity in found:
        inner = ["I"] * (entity.end - entity.start)
        if scheme != "IO":
            inner[0] = "B"
        if scheme == "BIOES":
            inner[-1] = "S" if len(inner) == 1 else "E"
        tags[entity.start : entity.end] = [f"{prefix}-{entity.type}" for prefix in inner]
    return tuple(tags)


def scheme_of(sentences: Sequence[Sequence[str]]) -> str:
    """Return the scheme that tags are written in, by their prefixes."""
    if is_strict(sentences):
        return "BIOES"
    begins = any(tag.startswith("B-") for tags in sentences for tag in tags)
    return "BIO" if begins else "IO"


def violations(tags: Sequence[str], scheme: str) -> list[int]:
    """Return the places of tags that do not follow the scheme; one after the last word for an entity without an end."""
    wrong = []
    before = OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = tag[:1], tag[2:]
        inside = before[:1] in ("B", "I") and before[2:] == kind
        if scheme == "BIO" and prefix == "I":
            holds = inside
        elif scheme == "BIOES":
            open_before = before[:1] in ("B", "I")
            holds = inside if prefix in ("I", "E") else not open_before
        else:
            holds = True
        if not holds:
            wrong.append(place)
        before = tag
    return wrong


def is_tag(tag: str, scheme: str) -> bool:
    """Return whether a text is a tag of a scheme: `O`, or a prefix, a hyphen and a type."""
    return tag == OUTSIDE or (len(tag) > 2 and tag[0] in PREFIXES[scheme] and tag[1] == "-")
