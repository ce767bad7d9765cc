"""Tokenized examples, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.tokenization import Tokens

Batch = dict[str, Tensor]  # input_ids, attention_mask, optional token_type_ids: each (n, length) int64; optional STATES


BUCKET = 16  # number of batches whose rows are sorted by length together: less padding, but still shuffled


Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Tokenized rows with their targets.

    Attributes:
        tokens: n rows.
        targets: (n,) class indices or numbers.
        padding: padding token id.
        states: (total, d) hidden states, the inputs of the first trained block for each token; None: forward passes
            start from the tokens.
    """

    tokens: Tokens
    targets: npt.NDArray[Any]
    padding: int
    states: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def rowwise(self) -> bool:
        """Whether the tensors of a batch, and its targets, have a row for each of its rows, in their order."""
        return True

    @property
    def output_offsets(self) -> npt.NDArray[np.int64]:
        """Return where the outputs of each row begin, and their number last: (n + 1,); one a row by default."""
        return np.arange(len(self) + 1)

    def weight(self, rows: Rows) -> int:
        """Return the weight of some rows in the loss of an optimizer step: their number."""
        return len(rows)

    def training_batch(self, rows: Rows, device: torch.device, targets: Tensor) -> tuple[Batch, Tensor]:
        """Return the given rows as a batch to train on, and their targets on the device; see `transformed`.

        Args:
            rows: (b,) indices.
            device: of the tensors.
            targets: of these rows, as the loss takes them.
        """
        return self.batch(rows, device), targets.to(device)

    def transformed(self, transforms: Sequence[Any]) -> Examples:
        """Return the rows with random transforms of training batches, anew in each epoch; texts have none.

        Raises:
            TypeError: rows of this kind have none.
        """
        raise TypeError("Texts are augmented by copies of rows.")

    def digest(self) -> str:
        """Return the SHA-256 of the tokens as hex digits."""
        content = hashlib.sha256(self.tokens.offsets.tobytes())
        content.update(self.tokens.ids.tobytes())
        if self.tokens.types is not None:
            content.update(self.tokens.types.tobytes())
        return content.hexdigest()

    def version(self, rows: Rows, device: torch.device, number: int) -> Batch:
        """Return the given rows in one of their versions (`harness.augment.images.versions_of`); texts have one."""
        return self.batch(rows, device)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows as a batch, padded on the right to the longest of them."""
        lengths = self.tokens.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        taken = np.concatenate([np.arange(self.tokens.offsets[row], self.tokens.offsets[row + 1]) for row in rows])
        ids = np.full(mask.shape, self.padding, dtype=np.int64)
        ids[mask] = self.tokens.ids[taken]
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
        if self.tokens.types is not None:
            types = np.zeros(mask.shape, dtype=np.int64)
            types[mask] = self.tokens.types[taken]
            batch["token_type_ids"] = torch.from_numpy(types)
        if self.states is not None:
            states = np.zeros((*mask.shape, self.states.shape[1]), dtype=np.float32)
            states[mask] = self.states[taken]
            batch[STATES] = torch.from_numpy(states)
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def by_length(lengths: npt.NDArray[np.int64], batch_size: int) -> list[Rows]:
    """Split rows into batches of similar length, longest first, so that a lack of memory shows at once."""
    order = np.argsort(-lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


STATES = "states"  # key of a batch: (n, length, d) hidden states, the inputs of the first trained block
