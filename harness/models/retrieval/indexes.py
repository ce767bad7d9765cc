"""Indexes of a collection: what gives every passage a score for a query, by vectors or by words.

An index stands in the place of a network's head, and nothing in it is trained. `settings` rebuilds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

# A word, in lower case; a character of a script that writes no spaces between words counts as one.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


class VectorIndex(nn.Module):
    """Cosine similarity with the vectors of the passages.

    Args:
        rows: number of passages P.
        size: d of the vectors.
    """

    kind = "vectors"

    def __init__(self, rows: int, size: int) -> None:
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", torch.zeros(rows, size))

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that rebuild it, without the vectors."""
        return {"kind": self.kind, "rows": len(self.vectors), "size": self.vectors.shape[1]}

    def put(self, vectors: npt.NDArray[np.float32]) -> None:
        """Copy the vectors (P, d), L2-normalized, of the passages."""
        self.vectors.copy_(torch.tensor(vectors))

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (b, P) float32 of L2-normalized vectors (b, d)."""
        # In bfloat16 many passages would have equal scores.
        with torch.autocast(features.device.type, enabled=False):
            return features.float() @ self.vectors.T


class WordIndex(nn.Module):
    """BM25 (Robertson et al. 1994; the variant of Lucene) over lower-case words.

    Args:
        passages: P texts.
        k1: how much repeated words count.
        b: how much long passages are discounted, 0 to 1.
    """

    kind = "bm25"

    def __init__(self, passages: Sequence[str], k1: float, b: float) -> None:
        super().__init__()
        import bm25s

        self.k1, self.b, self.rows = k1, b, len(passages)
        self.index = bm25s.BM25(k1=k1, b=b, method="lucene")
        # A passage without words has a length all the same, so that it can be indexed.
        self.index.index([words(text) or [""] for text in passages], show_progress=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that rebuild it, without the passages."""
        return {"kind": self.kind, "k1": self.k1, "b": self.b}

    def scores(self, queries: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores (n, P) of texts; 0 for a passage without a word of the query."""
        found = np.zeros((len(queries), self.rows), dtype=np.float32)
        for row, query in enumerate(queries):
            known = [word for word in words(query) if word in self.index.vocab_dict]
            if known:
                found[row] = self.index.get_scores(known)
        return found


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; of Chinese and Japanese, its characters."""
    return _WORD.findall(text.lower())


def index_of(settings: Mapping[str, Any], passages: Sequence[str]) -> VectorIndex | WordIndex:
    """Rebuild an index from its `settings`; that of vectors without its vectors."""
    if settings["kind"] == WordIndex.kind:
        return WordIndex(passages, float(settings["k1"]), float(settings["b"]))
    return VectorIndex(int(settings["rows"]), int(settings["size"]))
