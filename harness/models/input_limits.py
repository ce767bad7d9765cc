"""Which inputs a backbone takes: how many tokens, by its own tables of positions, and which, by its vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from harness.errors import HarnessError
from harness.models.model_files import names

# Tables whose rows are no places in the text: distances, buckets of them, and places on a page.
_OTHERS = ("relative", "distance", "bucket", "x_position", "y_position", "h_position", "w_position")
_ALWAYS = ("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "unk_token_id")


def longest_input(backbone: nn.Module, tokenizer: Any) -> int:
    """Longest input in tokens that a backbone takes: the least that tokenizer, config and tables of positions say."""
    limits = [int(tokenizer.model_max_length)]  # a huge number where the tokenizer knows none
    config: Any = backbone.config
    for name in ("max_position_embeddings", "max_seq_len"):  # the latter of MPT
        positions = getattr(config, name, None)
        limits += [positions] if isinstance(positions, int) and positions > 0 else []
    limits.extend(rows for rows in map(_usable, _tables(backbone)) if rows > 0)
    return min(limits)


def check_vocabulary(backbone: nn.Module, tokenizer: Any, what: str) -> None:
    """Raise if the tokenizer gives ids for which the backbone has no embedding.

    Special tokens of other uses, such as Gemma's of images, may lie beyond: `check_ids` finds them in texts.

    Raises:
        HarnessError: it gives such.
    """
    rows = embeddings(backbone)
    if rows is None:
        return
    special = {token for token, _ in _special(tokenizer)} - {
        token for token, id_ in _special(tokenizer) if id_ in [getattr(tokenizer, name, None) for name in _ALWAYS]
    }
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    beyond = sorted((id_, token) for token, id_ in vocabulary.items() if id_ >= rows and token not in special)
    if beyond:
        shown = names(f"{token} ({id_})" for id_, token in beyond)
        raise HarnessError(
            f"{what}: the tokenizer knows {len(vocabulary):,} tokens, and the model embeds {rows:,}: there is no "
            f"embedding of {shown}. The tokenizer belongs to another model, or tokens were added to it without "
            "resize_token_embeddings: save the two that belong together."
        )


def check_ids(ids: npt.NDArray[np.integer[Any]], backbone: nn.Module, tokenizer: Any, what: str) -> None:
    """Raise if there are token ids (n,) for which the backbone has no embedding.

    Raises:
        HarnessError: there are.
    """
    rows = embeddings(backbone)
    if rows is None or not len(ids) or int(ids.max()) < rows:
        return
    beyond = np.unique(ids[ids >= rows]).tolist()
    shown = names(f"{tokenizer.convert_ids_to_tokens(id_)} ({id_})" for id_ in beyond)
    raise HarnessError(
        f"The texts hold tokens of which {what} has no embedding: {shown}; it embeds {rows:,}. Tokens were added to "
        "its tokenizer without resize_token_embeddings: save the two that belong together."
    )


def embeddings(backbone: nn.Module) -> int | None:
    """How many tokens a backbone has embeddings of; None where it has no plain table of them."""
    try:
        table = backbone.get_input_embeddings()  # type: ignore[operator]  # of a transformers model
    except (NotImplementedError, AttributeError):
        return None
    weight = getattr(table, "weight", None)
    return None if weight is None or weight.ndim != 2 else int(weight.shape[0])


def _special(tokenizer: Any) -> list[tuple[str, int]]:
    return [(str(token), id_) for id_, token in tokenizer.added_tokens_decoder.items() if token.special]


def _tables(backbone: nn.Module) -> Iterator[nn.Module]:
    """The tables of a backbone with a row a position, learned or not."""
    for name, module in backbone.named_modules():
        last = name.rpartition(".")[2]
        if ("position" in last or last in ("wpe", "positions_embed")) and not any(other in last for other in _OTHERS):
            weight = getattr(module, "weight", None)
            if weight is not None and weight.ndim == 2:
                yield module


def _usable(table: Any) -> int:
    """Rows of a table of positions that texts can reach."""
    # Positions are counted from behind the padding's row, or from a fixed row (OPT and BART: 2).
    padding = getattr(table, "padding_idx", None)
    return int(table.weight.shape[0]) - max(0 if padding is None else padding + 1, getattr(table, "offset", 0) or 0)
