"""Tokenization of splits, cached per (data, tokenizer, length) and shared between runs and processes of a machine."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cache.disk_cache import Cache, use
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.records.files import atomic, write_json
from harness.records.signature import digest

FORMAT = 1  # of the cache's files; increased when they change


@dataclass(frozen=True)
class Tokens:
    """Token ids of a split's n texts (or pairs), special tokens included, concatenated.

    Attributes:
        ids: (total,) int32 token ids.
        offsets: (n + 1,) int64; row i is `ids[offsets[i]:offsets[i + 1]]`.
        types: (total,) int8, index of the text within its pair; None for single texts, and for tokenizers whose models
            take no token types.
        truncated: number of rows that were truncated to the maximum length.
        trained: (total,) int8, 1 for tokens whose prediction is part of the loss; None for a task with a target a row.
    """

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    types: npt.NDArray[np.int8] | None
    truncated: int
    trained: npt.NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens per row: (n,) int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Encoding:
    """A family's own way to tokenize a split.

    Attributes:
        key: what the tokens depend on besides the split, the tokenizer and the maximum length.
        encode: tokenizes a split.
    """

    key: str
    encode: Callable[[Split], Tokens]


def tokenize(
    split: Split,
    fingerprint: str,
    tokenizer: Any,
    tokenizer_digest: str,
    max_length: int,
    cache: Cache,
    encoding: Encoding | None = None,
) -> Tokens:
    """Tokenize a split, or map it from the cache.

    Several processes may do so at the same time: the content depends only on its key, and files are renamed into place.
    A damaged or incomplete entry is computed again.

    Args:
        split: the texts.
        fingerprint: fingerprint of the split's data set.
        tokenizer: a `transformers` tokenizer.
        tokenizer_digest: digest of the tokenizer's files.
        max_length: maximum tokens per row, including special ones; longer rows are truncated (pairs: the longer text).
        cache: the disk cache; tokens are in its folder `tokens/`.
        encoding: tokenizes the split in place of `encode`; None: `encode`.

    Raises:
        HarnessError: the cache cannot be written.
    """
    # The key without augmentation must not change, so that entries from before augmentation was added stay valid.
    copies = [split.augmentation] if split.augmentation else []
    copies += [encoding.key] if encoding is not None else []
    key = digest([FORMAT, fingerprint, split.name, tokenizer_digest, max_length, *copies])
    folder = cache.folder("tokens") / key[:32]
    tokens = _read(folder, len(split))
    if tokens is not None:
        return tokens
    made = encode(split, tokenizer, max_length) if encoding is None else encoding.encode(split)
    try:
        if not cache.make_room(sum(array.nbytes for array in _arrays(made).values())):
            return made
        _write(folder, made)
    except OSError as error:
        raise HarnessError(
            f"Tokenised data cannot be cached in {folder}: {error.strerror or error}. Free space there, or set "
            "cache_dir=FOLDER."
        ) from error
    return _read(folder, len(split)) or made  # mapped, so that processes share the memory


def encode(split: Split, tokenizer: Any, max_length: int) -> Tokens:
    """Tokenize a split without the cache, for texts that are used once."""
    types_needed = split.pairs is not None and "token_type_ids" in tokenizer.model_input_names
    encoded = tokenizer(
        split.texts,
        split.pairs,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=types_needed,
    )
    rows: list[list[int]] = encoded["input_ids"]
    # Only rows of exactly the maximum length can be truncated; these are tokenized again without truncation.
    full = [index for index, row in enumerate(rows) if len(row) >= max_length]
    truncated = 0
    if full:
        pairs = None if split.pairs is None else [split.pairs[index] for index in full]
        uncut = tokenizer([split.texts[index] for index in full], pairs, return_attention_mask=False, verbose=False)
        truncated = sum(len(row) > max_length for row in uncut["input_ids"])
    types = _flat(encoded["token_type_ids"], np.int8) if types_needed else None
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Tokens(ids=_flat(rows, np.int32), offsets=offsets, types=types, truncated=truncated)


def _flat(rows: list[list[int]], dtype: Any) -> npt.NDArray[Any]:
    return np.fromiter((value for row in rows for value in row), dtype=dtype, count=sum(map(len, rows)))


def _arrays(tokens: Tokens) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {"ids": tokens.ids, "offsets": tokens.offsets}
    optional = {"types": tokens.types, "trained": tokens.trained}
    return arrays | {name: array for name, array in optional.items() if array is not None}


def _write(folder: Path, tokens: Tokens) -> None:
    arrays = _arrays(tokens)
    for name, array in arrays.items():
        with atomic(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)
    # Written last, so that an entry with this file is complete.
    checksums = {name: zlib.crc32(array.data) for name, array in arrays.items()}
    write_json(folder / "entry.json", {"truncated": tokens.truncated, "crc32": checksums})


def _read(folder: Path, rows: int) -> Tokens | None:
    try:
        entry = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in entry["crc32"]}
        whole = all(zlib.crc32(arrays[name].data) == checksum for name, checksum in entry["crc32"].items())
        tokens = Tokens(
            ids=arrays["ids"], offsets=arrays["offsets"], types=arrays.get("types"), truncated=int(entry["truncated"]),
            trained=arrays.get("trained"),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if not whole or len(tokens) != rows:
        return None
    use(folder / "entry.json")
    return tokens
