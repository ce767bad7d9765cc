"""Tokens of conversations, and which of them are trained: equal to those of TRL's SFT trainer (see its tests)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.data.tokenization import Tokens
from harness.errors import HarnessError
from harness.models.loading import brief
from harness.records.signature import digest
from harness.tasks.text_generation.data import Conversation, GenerationSplit, Message, Writing

Ids = list[int]
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")  # a template's mark of what an assistant writes


@dataclass(frozen=True)
class RowEncoder:
    """Tokenizes conversations for one model.

    Attributes:
        tokenizer: of the model, with an end token.
        encoder_decoder: whether the model reads prompts with an encoder.
        writing: see `Writing`.
        max_length: most tokens of a row in training: of prompt and completion together, or of each for an
            encoder-decoder. Longer rows are cut at their end.
    """

    tokenizer: Any
    encoder_decoder: bool
    writing: Writing
    max_length: int

    def __post_init__(self) -> None:
        """Check the tokenizer.

        Raises:
            HarnessError: it has no end token, or a conversation needs a chat template and there is none.
        """
        if self.tokenizer.eos_token_id is None:
            raise HarnessError(
                "The model's tokenizer has no end token (eos_token), so a text that it writes has no end: set "
                "eos_token in its tokenizer_config.json."
            )

    @property
    def key(self) -> str:
        """What the tokens depend on besides rows, tokenizer and maximum length."""
        own = self.writing
        shown = [row.content for row in own.examples]
        return digest(["generation", 1, self.encoder_decoder, own.chat, own.chat_template, own.train_on, shown])

    def encode(self, split: GenerationSplit) -> Tokens:
        """Tokenize a split: prompt and completion in one sequence, with a mask of the trained tokens.

        For an encoder-decoder the untrained tokens are the encoder's, and the trained ones the decoder's.
        """
        shown = self._with_examples(split.rows)
        pairs = self._pairs(shown) if self.encoder_decoder else self._sequences(shown)
        rows, masks, truncated = [], [], 0
        for ids, mask in pairs:
            rows.append(ids)
            masks.append(mask)
        if self.encoder_decoder:
            cut = [self._cut_pair(ids, mask) for ids, mask in zip(rows, masks, strict=True)]
            truncated = sum(len(ids) < len(whole) for (ids, _), whole in zip(cut, rows, strict=True))
            rows, masks = [ids for ids, _ in cut], [mask for _, mask in cut]
        else:
            truncated = sum(len(ids) > self.max_length for ids in rows)
            rows, masks = [ids[: self.max_length] for ids in rows], [mask[: self.max_length] for mask in masks]
        return Tokens(
            ids=_flat(rows, np.int32),
            offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            types=None,
            truncated=truncated,
            trained=_flat(masks, np.int8),
        )

    def prompts(self, rows: Sequence[Conversation]) -> list[Ids]:
        """Tokenize the prompts, with the examples before them; a model writes from their end."""
        return self._prompts(self._with_examples(rows))

    def candidates(self, rows: Sequence[Conversation]) -> list[list[tuple[Ids, Ids]]]:
        """Tokenize each choice of each row after its prompt: pairs (context, continuation), without an end token."""
        flat = [Conversation(row.prompt, choice) for row in self._with_examples(rows) for choice in row.choices]
        pairs = self._pairs(flat) if self.encoder_decoder else self._sequences(flat)
        found = iter([_parted(ids, mask, self.tokenizer.eos_token_id) for ids, mask in pairs])
        return [[next(found) for _ in row.choices] for row in rows]

    def _with_examples(self, rows: Sequence[Conversation]) -> Sequence[Conversation]:
        """Put the examples before each prompt: as earlier turns, or as texts with an empty line between."""
        own = self.writing
        if not own.examples:
            return rows
        if not own.chat:
            before = "".join(f"{each.prompt}{each.completion}\n\n" for each in own.examples)
            return [replace(row, prompt=f"{before}{row.prompt}") for row in rows]
        turns: list[Message] = []
        for each in own.examples:
            turns += [message for message in _messages(each) if message["role"] != "system"]
            turns.append({"role": "assistant", "content": each.completion})
        found = []
        for row in rows:
            messages = _messages(row)
            first = 1 if messages[0]["role"] == "system" else 0
            found.append(replace(row, prompt=(*messages[:first], *turns, *messages[first:])))
        return found

    def _prompts(self, rows: Sequence[Conversation]) -> list[Ids]:
        if self.writing.chat:
            return self._ids([self._rendered(_messages(row), True) for row in rows], special=self.encoder_decoder)
        found = self._ids([str(row.prompt) for row in rows])
        if self.encoder_decoder:
            return found
        # Some tokenizers of decoders append their end token to every text.
        end = self.tokenizer.eos_token_id
        return [ids[:-1] if len(ids) > 1 and ids[-1] == end else ids for ids in found]

    def _cut_pair(self, ids: Ids, mask: Ids) -> tuple[Ids, Ids]:
        read = [token for token, trained in zip(ids, mask, strict=True) if not trained][: self.max_length]
        written = [token for token, trained in zip(ids, mask, strict=True) if trained][: self.max_length]
        return read + written, [0] * len(read) + [1] * len(written)

    def _pairs(self, rows: Sequence[Conversation]) -> list[tuple[Ids, Ids]]:
        """Encoder's tokens, then decoder's."""
        read = self._prompts(rows)
        written = [list(ids) for ids in self.tokenizer(text_target=[row.completion for row in rows])["input_ids"]]
        end = self.tokenizer.eos_token_id
        written = [ids if ids and ids[-1] == end else [*ids, end] for ids in written]
        return [(one + two, [0] * len(one) + [1] * len(two)) for one, two in zip(read, written, strict=True)]

    def _sequences(self, rows: Sequence[Conversation]) -> list[tuple[Ids, Ids]]:
        """A decoder's sequence."""
        if not self.writing.chat:
            return self._plain(rows)
        talks = [[*_messages(row), {"role": "assistant", "content": row.completion}] for row in rows]
        if self.writing.train_on == "assistant" and GENERATION.search(self._template):
            return [self._marked(talk) for talk in talks]
        wholes = self._ids([self._rendered(talk, False) for talk in talks], special=False)
        if self.writing.train_on == "all":
            return [(ids, [1] * len(ids)) for ids in wholes]
        if self.writing.train_on == "assistant":
            return [(ids, self._turns(talk, ids)) for talk, ids in zip(talks, wholes, strict=True)]
        prompts = self._prompts(rows)
        return [_completed(prompt, ids) for prompt, ids in zip(prompts, wholes, strict=True)]

    def _plain(self, rows: Sequence[Conversation]) -> list[tuple[Ids, Ids]]:
        end = self.tokenizer.eos_token
        wholes = self._ids([f"{row.prompt}{row.completion}".removesuffix(end) + end for row in rows])
        if self.writing.train_on == "all":
            return [(ids, [1] * len(ids)) for ids in wholes]
        prompts = self._ids([str(row.prompt) for row in rows])
        return [_completed(prompt, ids) for prompt, ids in zip(prompts, wholes, strict=True)]

    def _turns(self, talk: Sequence[Message], whole: Ids) -> Ids:
        """Mark the assistant's turns, each from the end of its prompt to the end of its own rendering."""
        mask = [0] * len(whole)
        for index, message in enumerate(talk):
            if message["role"] != "assistant":
                continue
            before, after = self._ids(
                [self._rendered(talk[:index], True), self._rendered(talk[: index + 1], False)], special=False
            )
            start, stop = common(before, whole), common(after, whole)
            mask[start:stop] = [1] * (stop - start)
        return mask

    def _marked(self, talk: Sequence[Message]) -> tuple[Ids, Ids]:
        """Tokenize a conversation by a template that marks what the assistant writes."""
        found = self.tokenizer.apply_chat_template(
            list(talk), chat_template=self.writing.chat_template, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True,
        )  # fmt: skip
        return list(found["input_ids"]), list(found["assistant_masks"])

    @property
    def _template(self) -> str:
        found = self.writing.chat_template or self.tokenizer.chat_template or ""
        return found if isinstance(found, str) else str(found.get("default", ""))

    def _rendered(self, talk: Sequence[Message], prompt: bool) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(talk), chat_template=self.writing.chat_template, tokenize=False, add_generation_prompt=prompt
            )
        except Exception as error:  # templates raise errors of Jinja, and of their own
            shown = json.dumps(talk, ensure_ascii=False)
            raise HarnessError(
                f"The chat template cannot be applied to {shown[:200]}: {brief(error)}. Change the messages, or name a "
                "template that takes them (task.chat_template=FILE)."
            ) from error
        return text

    def _ids(self, texts: list[str], special: bool = True) -> list[Ids]:
        encoded = self.tokenizer(
            texts, add_special_tokens=special, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        return [list(ids) for ids in encoded["input_ids"]]


def common(one: Ids, two: Ids) -> int:
    """Return the length of the common prefix of two rows of tokens."""
    for index, (first, second) in enumerate(zip(one, two, strict=False)):
        if first != second:
            return index
    return min(len(one), len(two))


def _completed(prompt: Ids, whole: Ids) -> tuple[Ids, Ids]:
    """Mark the tokens after the prompt; where its last tokens merge with the completion's first, from there on."""
    start = common(prompt, whole)
    return whole, [0] * start + [1] * (len(whole) - start)


def _parted(ids: Ids, mask: Ids, end: int) -> tuple[Ids, Ids]:
    """Part a row where its trained tokens begin, and leave out the end token with what follows it."""
    start = mask.index(1) if 1 in mask else len(ids)
    written = ids[start:]
    return ids[:start], written[: written.index(end)] if end in written else written


def _messages(row: Conversation) -> list[Message]:
    assert not isinstance(row.prompt, str)  # of a task with messages
    return list(row.prompt)


def _flat(rows: list[Ids], dtype: Any) -> Any:
    return np.fromiter((value for row in rows for value in row), dtype=dtype, count=sum(map(len, rows)))
