"""The built-in demo of tagging: generated messages to a shop with products, places, people and dates in them.

Phrasings and names differ between splits in part, so that models have to generalize; needs no download.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.readers.rows import SPLITS
from harness.errors import Problems
from harness.tasks.token_tagging.data import Sentence
from harness.tasks.token_tagging.entities import Entity, encoded
from harness.tasks.token_tagging.rows import Row, Rows
from harness.tasks.token_tagging.task import TaggingTask

# A word in capitals is a slot. The last third of the phrasings, and of the fillings of a slot, is kept from training.
PHRASES = (
    "my PRODUCT arrived broken .", "where is the PRODUCT I ordered on DATE ?", "please send it to PLACE instead .",
    "I spoke to PERSON on DATE about the PRODUCT .", "can I return the PRODUCT before DATE ?",
    "the parcel to PLACE is late .", "hello , this is PERSON from PLACE .", "is the PRODUCT in stock in PLACE ?",
    "PERSON never called me back .", "I want my money back for the PRODUCT .", "do you ship to PLACE ?",
    "the invoice of DATE has the wrong name , I am PERSON .", "your courier left it at the wrong house in PLACE .",
    "I have moved from PLACE to PLACE since DATE .", "nobody answers my messages .", "what are your opening hours ?",
    "may I swap the PRODUCT for a PRODUCT ?", "PERSON promised me a refund by DATE .", "I forgot my password .",
    "the PRODUCT you sent to PERSON in PLACE does not fit .", "when will PERSON be back from PLACE ?",
    "the coupon does not work .", "may I visit your store in PLACE ?", "thanks , that is all .",
)  # fmt: skip
OPENINGS = ("", "", "", "hello ,", "good morning !", "hi there ,", "sorry ,", "dear team ,")
ENDINGS = ("", "", "", "thanks !", "please hurry .", "best wishes", "any news ?", "I am waiting .")
FILLINGS = {
    "PRODUCT": (
        "kettle", "desk lamp", "winter coat", "blue jacket", "phone case", "coffee grinder", "running shoes", "tent",
        "office chair", "wall clock", "garden hose", "wool scarf", "toaster", "bike pump", "rain jacket", "bread knife",
        "yoga mat", "reading lamp", "camping stove", "silver watch", "leather wallet",
    ),
    "PLACE": (
        "Leeds", "Porto", "Graz", "New York", "Oslo", "Lyon", "San Marino", "Turin", "Cork", "Santa Fe", "Basel",
        "Bonn", "Gdansk", "Las Palmas", "Aarhus", "Ghent", "Kosice", "Bad Ischl", "Nantes", "Split", "Valencia",
    ),
    "PERSON": (
        "Ana", "Mr. Lund", "Olga Petrova", "Ben", "Mrs. Okafor", "Li Wei", "Tom Baker", "Nadia", "Paul Meyer", "Ida",
        "Jonas", "Miss Silva", "Karim Haddad", "Eva", "Hugo Blanc", "April", "May Chen", "Dr. Rossi", "Grace", "Sven",
        "Austin",
    ),
    "DATE": (
        "Monday", "3 May", "last Friday", "12 March", "Tuesday", "the 5th", "June", "1 October", "yesterday", "Sunday",
        "9 August", "next week", "the 21st of July", "Thursday", "30 April", "May", "last month", "2 January",
        "Wednesday", "Christmas", "tomorrow",
    ),
}  # fmt: skip
NEW_SHARE = 0.35  # of phrasings and fillings of validation and test rows that training rows never have


@dataclass(kw_only=True)
class DemoTags(TaggingTask):
    """Generated sentences. The same fields give the same rows on every machine and Python version."""

    train_sentences: int = 400
    validation_sentences: int = 150
    test_sentences: int = 300
    data_seed: int = 0

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name in ("train_sentences", "validation_sentences", "test_sentences"):
            value = getattr(self, name)
            holds = isinstance(value, int) and not isinstance(value, bool) and 10 <= value <= 2_000
            problems.check(holds, f"task.{name} must be a whole number from 10 to 2000, not {value!r}.")
        problems.check(
            isinstance(self.data_seed, int) and not isinstance(self.data_seed, bool),
            f"task.data_seed must be a whole number, not {self.data_seed!r}.",
        )

    def read(self) -> tuple[dict[str, Rows], str]:
        """Generate the three splits."""
        seen: set[str] = set()
        # Training rows come last: sentences are unique over all splits, and test rows must not depend on the others.
        rows = {split: self._rows(split, seen) for split in reversed(SPLITS)}
        return {split: rows[split] for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _rows(self, split: str, seen: set[str]) -> Rows:
        rng = random.Random(f"{self.data_seed} {split} tags")  # strings are seeded by SHA-512, not by hash()
        rows = list[Row]()
        while len(rows) < getattr(self, f"{split}_sentences"):
            row = self._row(rng, split, len(rows))
            if (form := row.sentence.text.lower()) not in seen:
                seen.add(form)
                rows.append(row)
        return Rows(tuple(rows))

    def _row(self, rng: random.Random, split: str, number: int) -> Row:
        words, found = list[str](), list[Entity]()
        parts = [_drawn(rng, each, "train") for each in (OPENINGS, ENDINGS)]
        for part in f"{parts[0]} {_drawn(rng, PHRASES, split)} {parts[1]}".split():
            if part not in FILLINGS:
                words.append(part)
                continue
            filling = _drawn(rng, FILLINGS[part], split).split()
            found.append(Entity(part.lower(), len(words), len(words) + len(filling)))
            words += filling
        if rng.random() < 0.3:  # customers who write without capitals
            words = [word.lower() for word in words]
        tags = encoded(found, len(words), "BIO" if self.scheme is None else self.scheme)
        return Row(Sentence.of_words(words), tags, (number + 1,), "row")


def _drawn(rng: random.Random, options: Sequence[str], split: str) -> str:
    known = len(options) * 2 // 3 if len(options) > len(OPENINGS) else len(options)
    new = split != "train" and rng.random() < NEW_SHARE
    part = options[known:] if new else options[:known]
    # random() is the only method whose sequence Python guarantees across versions.
    return part[int(rng.random() * len(part))]
