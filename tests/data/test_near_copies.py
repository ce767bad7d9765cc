"""Near-copies are found among many texts, and told."""

from __future__ import annotations

import random

from harness.data.near_copies import near_copies
from tests.helpers.text_tasks import Write, make, own, rows_csv

LETTERS = "abcdefghijklmnop"


def texts(count: int, seed: int, words: int = 14) -> list[str]:
    source = random.Random(seed)
    return [" ".join("".join(source.choices(LETTERS, k=5)) for _ in range(words)) for _ in range(count)]


def test_changed_numbers_words_and_punctuation_make_near_copies() -> None:
    """Of 14 words one may differ; digits, letter case and punctuation do not count."""
    known = texts(2000, 0)
    near = [
        known[3].replace(known[3].split()[7], "other"),
        known[4].upper() + "!",
        f"order 17 of {known[5]}",
        known[6] + " again",
    ]
    assert near_copies(near, [*known, f"order 2345 of {known[5]}"]) == len(near)
    assert near_copies([*known[:50], *texts(500, 1)], known) == 0
    assert near_copies(near, known) == near_copies(near[::-1], known[::-1]) == 4


def test_a_form_that_all_texts_share_does_not_count() -> None:
    """An instruction before every text is no reason to take them for copies."""
    instruction = " ".join(texts(1, 2, 60))
    known = [f"{instruction} {text}" for text in texts(300, 3)]
    assert near_copies([f"{instruction} {text}" for text in texts(100, 4)], known) == 0


def test_short_and_empty_texts_are_no_near_copies() -> None:
    """One word of four is too large a part."""
    assert near_copies(["cancel my card please", "", "?!"], ["cancel my order please", "", "..."]) == 0
    assert near_copies([], ["a"]) == near_copies(["a"], []) == 0


def test_the_user_is_told_and_groups_end_it(write: Write) -> None:
    """Fillings of one template in several splits are told with what to do; splits by template have none."""
    rows = [
        (f"{template} number {place} {place * 7}", "ab"[number % 2], f"t{number}")
        for number, template in enumerate(texts(40, 5))
        for place in range(5)
    ]
    path = write("rows.csv", rows_csv(rows, "text,label,template"))
    data = own(path).load()
    assert data.facts["near_copies_train_test"] == data.facts["rows"]["test"] == 40
    assert any(each.startswith("40 test rows (100.0%) are near-copies of training rows") for each in data.warnings)
    assert any("task.group=<column>" in each for each in data.warnings)
    grouped = own(path, group="template").load()
    assert grouped.facts["near_copies_train_test"] == grouped.facts["near_copies_train_validation"] == 0
    assert not any("near-copies" in each for each in grouped.warnings)


def test_few_near_copies_are_counted_and_not_told() -> None:
    """The demo has some, as messages that people wrote do."""
    data = make("demo").load()
    assert 0 < data.facts["near_copies_train_test"] < 0.15 * len(data.test)
    assert data.warnings == ()
