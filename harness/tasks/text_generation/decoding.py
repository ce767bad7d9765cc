"""How outputs are chosen (`task.generate`). Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import Problems

LEAST = 1e-4  # temperature above 0: scores divided by a smaller one may overflow


@dataclass(frozen=True)
class Decoding:
    """How outputs are chosen (`task.generate`).

    Attributes:
        max_new_tokens: most tokens of an output.
        num_beams: beams of beam search; 1 is none.
        temperature: 0 takes the likeliest token; above 0, tokens are drawn from the whole distribution at it.
        samples: outputs for each prompt; more than one needs a temperature above 0 or as many beams.
        stop: an output ends before the first of these strings.
        seed: of drawn tokens. They also depend on which prompts share a batch.
    """

    max_new_tokens: int = 64
    num_beams: int = 1
    temperature: float = 0.0
    samples: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0

    def check(self, problems: Problems, section: str = "task.generate") -> None:
        """Report values that cannot be used; `section` is the name of the keys' section in messages."""
        for key in ("max_new_tokens", "num_beams", "samples"):
            problems.whole(f"{section}.{key}", getattr(self, key))
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        problems.check(
            whole and 0 <= self.seed < 2**32,
            f"{section}.seed must be a whole number from 0 to 2**32 - 1, not {self.seed}.",
        )
        problems.check(
            self.temperature == 0 or LEAST <= self.temperature < math.inf,
            f"{section}.temperature must be 0 (the likeliest token), or {LEAST:g} or more, not {self.temperature}.",
        )
        problems.check(
            self.samples <= self.num_beams or self.temperature > 0,
            f"{section}.samples={self.samples} outputs for each prompt would be the same: set {section}.temperature "
            f"above 0, such as 0.7, or {section}.num_beams={self.samples}.",
        )
        problems.check(
            all(isinstance(text, str) and text for text in self.stop),
            f"{section}.stop is a list of strings that are not empty, not {list(self.stop)}.",
        )
