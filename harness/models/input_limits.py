"""Limits on a backbone's inputs: their length, by its position tables, and their token ids, by its vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from harness.errors import HarnessError
from harness.models.files.model_files import names

# Position-like tables that do not limit the length: distances, their buckets, and coordinates on a page.
_OTHERS = ("relative", "distance", "bucket", "x_position", "y_position", "h_position", "w_position")
_ALWAYS = ("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "unk_token_id")


def longest_input(backbone: nn.Module, tokenizer: Any) -> int:
    """Return the longest input in tokens: the minimum of the limits of tokenizer, config and position tables."""
    limits = [int(tokenizer.model_max_length)]  # a huge number if the tokenizer has no limit
    config: Any = backbone.config
    for name in ("max_position_embeddings", "max_seq_len"):  # the latter in MPT
        positions = getattr(config, name, None)
        limits += [positions] if isinstance(positions, int) and positions > 0 else []
    limits.extend(rows for rows in map(_usable, _tables(backbone)) if rows > 0)
    return min(limits)


def check_vocabulary(backbone: nn.Module, tokenizer: Any, what: str) -> None:
    """Check that the backbone has an embedding for each token of the tokenizer.

    Special tokens for other uses, such as Gemma's for images, may be out of range: `check_ids` finds them in texts.

    Raises:
        HarnessError: some tokens have no embedding.
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
    """Check that the backbone has an embedding for each of the token ids (n,).

    Raises:
        HarnessError: some ids have no embedding.
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
    """Return the number of a backbone's token embeddings; None if it has no plain embedding table."""
    try:
        table = backbone.get_input_embeddings()  # type: ignore[operator]  # of a transformers model
    except (NotImplementedError, AttributeError):
        return None
    weight = getattr(table, "weight", None)
    return None if weight is None or weight.ndim != 2 else int(weight.shape[0])


def _special(tokenizer: Any) -> list[tuple[str, int]]:
    return [(str(token), id_) for id_, token in tokenizer.added_tokens_decoder.items() if token.special]


def _tables(backbone: nn.Module) -> Iterator[nn.Module]:
    """Yield the position tables of a backbone, with one row per position, learned or not."""
    for name, module in backbone.named_modules():
        last = name.rpartition(".")[2]
        if ("position" in last or last in ("wpe", "positions_embed")) and not any(other in last for other in _OTHERS):
            weight = getattr(module, "weight", None)
            if weight is not None and weight.ndim == 2:
                yield module


def _usable(table: Any) -> int:
    """Return the number of positions in a table that texts can use."""
    # Positions start after the padding index, or at a fixed offset (OPT and BART: 2).
    padding = getattr(table, "padding_idx", None)
    return int(table.weight.shape[0]) - max(0 if padding is None else padding + 1, getattr(table, "offset", 0) or 0)
