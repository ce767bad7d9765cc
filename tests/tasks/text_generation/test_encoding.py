"""Tokens and labels: equal to those of TRL's SFT trainer, for 200 rows of each kind."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.models.language.language_model import IGNORED
from harness.tasks.text_generation.data import Conversation, Writing, split_of
from harness.tasks.text_generation.encoding import RowEncoder, common
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import TEMPLATE, UNMARKED, WORDS

Labeled = list[tuple[list[int], list[int]]]
ROWS = 200


def texts(seed: int) -> list[str]:
    """Random words; some end in a space, so that tokens merge across the boundary."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(1, 9))) + draw.choice(["", " ", ": "]) for _ in range(ROWS)]


PROMPTS, ANSWERS = texts(0), [text.strip() for text in texts(1)]
TALKS = [
    [
        {"role": "user", "content": one}, {"role": "assistant", "content": two},
        {"role": "user", "content": three}, {"role": "assistant", "content": four},
    ]
    for one, two, three, four in zip(PROMPTS, ANSWERS, PROMPTS[::-1], ANSWERS[::-1], strict=True)
]  # fmt: skip
PLAIN = [Conversation(prompt, answer) for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
CHATS = [Conversation(({"role": "user", "content": row.prompt},), row.completion) for row in PLAIN]  # type: ignore[dict-item]
SPOKEN = [Conversation(tuple(talk[:-1]), talk[-1]["content"]) for talk in TALKS]


def ours(rows: list[Conversation], writing: Writing, template: str = UNMARKED, longest: int = 200) -> Labeled:
    """The token ids and labels of rows."""
    encoder = RowEncoder(tiny_writers.tokenizer(template), False, writing, longest)
    tokens = encoder.encode(split_of("train", rows, [(row.completion,) for row in rows], range(len(rows))))
    assert tokens.trained is not None
    found = []
    for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        ids, marks = tokens.ids[start:stop].tolist(), tokens.trained[start:stop].tolist()
        found.append((ids, [id_ if mark else IGNORED for id_, mark in zip(ids, marks, strict=True)]))
    return found


def theirs(
    rows: list[dict[str, Any]], template: str, only: bool = True, assistant: bool = False, longest: int = 200
) -> Labeled:
    """What TRL's preparation makes of rows."""
    trl = pytest.importorskip("trl", reason="trl is not installed: pip install 'harness[test]'")
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)
    tokens = tiny_writers.tokenizer(template)
    settings = trl.SFTConfig(
        output_dir="unused", max_length=longest, assistant_only_loss=assistant, report_to=[], use_cpu=True, bf16=False
    )
    trainer = SimpleNamespace(_tokenizer=tokens, chat_template=None, completion_only_loss=only)
    settings.shuffle_dataset = False
    made = trl.SFTTrainer._prepare_dataset(trainer, Dataset.from_list(rows), tokens, settings, False, None, "train")
    return [(row["input_ids"], row["labels"]) for row in made]


def test_prompt_and_completion() -> None:
    """The end token is trained; where tokens merge across the boundary, the loss begins at the merged token."""
    wanted = theirs([{"prompt": row.prompt, "completion": row.completion} for row in PLAIN], UNMARKED)
    found = ours(PLAIN, Writing())
    assert found == wanted
    encoder = RowEncoder(tiny_writers.tokenizer(), False, Writing(), 200)
    prompts = encoder.prompts(PLAIN)
    merged = [common(prompt, ids) < len(prompt) for prompt, (ids, _) in zip(prompts, found, strict=True)]
    assert 0 < sum(merged) < ROWS


def test_turns_in_a_chat_template() -> None:
    """The loss is on what follows the generation prompt."""
    wanted = theirs(
        [
            {"prompt": list(row.prompt), "completion": [{"role": "assistant", "content": row.completion}]}
            for row in CHATS
        ],
        UNMARKED,
    )
    assert ours(CHATS, Writing(chat=True)) == wanted


def test_last_turn_of_messages() -> None:
    """Earlier turns of the assistant are read, not trained."""
    wanted = theirs([{"prompt": talk[:-1], "completion": talk[-1:]} for talk in TALKS], UNMARKED)
    assert ours(SPOKEN, Writing(chat=True)) == wanted


def test_every_turn_of_the_assistant() -> None:
    """By the template's own marks, and without marks by the prefixes of the conversation: the same tokens."""
    wanted = theirs([{"messages": talk} for talk in TALKS], TEMPLATE, only=False, assistant=True)
    writing = Writing(chat=True, train_on="assistant")
    assert ours(SPOKEN, writing, TEMPLATE) == wanted
    assert ours(SPOKEN, writing, UNMARKED) == wanted


def test_all_tokens_of_messages_and_of_plain_text() -> None:
    """Continued pretraining."""
    assert ours(SPOKEN, Writing(chat=True, train_on="all")) == theirs(
        [{"messages": talk} for talk in TALKS], UNMARKED, only=False
    )
    assert ours([Conversation("", row.completion) for row in PLAIN], Writing(train_on="all")) == theirs(
        [{"text": row.completion} for row in PLAIN], UNMARKED, only=False
    )


def test_rows_that_are_cut() -> None:
    """Rows lose their end; TRL drops those without a label left, which are kept and counted here."""
    wanted = theirs([{"prompt": row.prompt, "completion": row.completion} for row in PLAIN], UNMARKED, longest=8)
    found = ours(PLAIN, Writing(), longest=8)
    kept = [row for row in found if any(label != IGNORED for label in row[1])]
    assert len(kept) < len(found) and kept == wanted


def test_examples_stand_before_a_prompt() -> None:
    """As earlier turns in a conversation, after its system message; as texts before a plain prompt."""
    tokens = tiny_writers.tokenizer()
    system = {"role": "system", "content": "be good"}
    user = {"role": "user", "content": "food"}
    shown = Conversation((system, {"role": "user", "content": "coffee"}), "shop")
    encoder = RowEncoder(tokens, False, Writing(chat=True, examples=(shown,)), 200)
    text = tokens.decode(encoder.prompts([Conversation((system, user), "good")])[0])
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [part.partition("\n")[0] for part in text.split("<|start|>")[1:]] == roles
    assert text.index("be good") < text.index("coffee") < text.index("shop") < text.index("food")
    plain = RowEncoder(tokens, False, Writing(examples=(Conversation("coffee ", "shop"),)), 200)
    assert tokens.decode(plain.prompts([Conversation("food ", "good")])[0]) == "coffee shop\n\nfood "
