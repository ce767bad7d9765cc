"""Checks of a model against rows by the model's files, before anything is computed. Imports no torch.

They refuse only what cannot work whatever the tokenizer adds; the exact numbers of tokens are checked when a run begins
(`TextGenerationRuntime.notes`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import Problems
from harness.formatting.examples import short

LONGEST = 5  # prompts whose tokens are counted, the longest by characters


def check_chat_template(name: str, directory: Path, problems: Problems) -> None:
    """Report a model without a chat template."""
    problems.check(
        _has_chat_template(directory),
        f"model={name} has no chat template, and this task has messages (task.chat=true, or task.messages). Name a "
        "template of your own (task.chat_template=FILE), a model that was tuned on conversations, or, for a prompt and "
        "a completion, task.chat=false.",
    )


def check_end_token(name: str, directory: Path, problems: Problems) -> None:
    """Report a tokenizer without an end token, unless its class may bring one."""
    settings = _json(directory / "tokenizer_config.json")
    plain = settings.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
    ends = settings.get("eos_token") or _json(directory / "special_tokens_map.json").get("eos_token")
    problems.check(
        not plain or bool(ends),
        f"The tokenizer of model={name} has no end token (eos_token), so a text that the model writes has no end: set "
        f"eos_token in its tokenizer_config.json.",
    )


def check_translates(name: str, directory: Path, problems: Problems) -> None:
    """Report a decoder for a translation whose prompts do not say so; an encoder-decoder may be made for one."""
    problems.check(
        bool(_json(directory / "config.json").get("is_encoder_decoder")),
        f"model={name} is a decoder, and the prompts of this translation (task.translation=true) are bare sentences: "
        "say in a template what to do with them, such as \"task.doc_to_text='Translate into English: {{zh}}'\".",
    )


def check_room(name: str, directory: Path, prompts: Sequence[str], written: int, problems: Problems) -> None:
    """Report prompts, and outputs after them, that are longer than what the model reads.

    Args:
        name: of the model, for messages.
        directory: with its files.
        prompts: texts, without what a chat template adds.
        written: most tokens of an output; 0 where none is written.
        problems: added to.
    """
    config = _json(directory / "config.json")
    reads = config.get("max_position_embeddings") or config.get("n_positions")
    if config.get("is_encoder_decoder") or not isinstance(reads, int):
        return
    if written >= reads:
        problems.add(
            f"task.generate.max_new_tokens={written} is beyond the {reads} tokens that model={name} reads: "
            f"set task.generate.max_new_tokens={max(reads // 4, 1)} or less."
        )
        return
    longest, text = _longest(directory, prompts)
    if longest + written > reads:
        left = reads - longest
        way = f"set task.generate.max_new_tokens={left} or less" if left > 0 else "shorten or remove it"
        after = f", task.generate.max_new_tokens={written} follow" if written else ""
        problems.add(
            f"A prompt has {longest} tokens{after}, and model={name} reads {reads} tokens: {way}. It begins "
            f"{short(text)}."
        )


def _longest(directory: Path, prompts: Sequence[str]) -> tuple[int, str]:
    """Return the number of tokens of the longest prompt, and the prompt; 0 without a file of a fast tokenizer."""
    path = directory / "tokenizer.json"
    candidates = sorted(prompts, key=len, reverse=True)[:LONGEST]
    if not path.is_file() or not candidates:
        return 0, ""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001 -- the library's own errors of a broken file, which loading the model tells
        return 0, ""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = [len(each.ids) for each in tokenizer.encode_batch(candidates, add_special_tokens=False)]
    place = max(range(len(counts)), key=counts.__getitem__)
    return counts[place], candidates[place]


def _has_chat_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file() or (directory / "chat_template.json").is_file():
        return True
    return bool(_json(directory / "tokenizer_config.json").get("chat_template"))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
