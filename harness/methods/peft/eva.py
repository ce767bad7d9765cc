"""EVA: LoRA whose factors are initialized with the directions of largest variance of each layer's inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.methods.peft.peft_method import PeftMethod

if TYPE_CHECKING:
    from harness.data.examples import Batch
    from harness.models.network import AdaptedModel

# EVA converges after 8 (r=4), 22 (r=8) or 40 (r=16) batches of 32 rows of BANKING77 at 10 shots, where a pass has 25
# batches. PEFT has no limit of its own.
PASSES = 50


@dataclass(kw_only=True)
class Eva(PeftMethod):
    """PEFT's EVA (Paischer et al. 2024, arXiv:2410.07170): `config` is a LoRA with `init_lora_weights: eva`."""

    def initialize(self, network: AdaptedModel, batches: Iterable[Batch]) -> None:
        """Compute the factors from the layers' inputs on the training rows.

        Raises:
            HarnessError: the rows are too few or too similar for this many directions.
        """
        from peft import initialize_lora_eva_weights

        rows = list(batches)
        settings: Any = network.backbone.config
        if "labels" in rows[0] and settings.is_encoder_decoder:
            raise HarnessError(
                f"method={self.name} masks the tokens of one sequence, and this model reads two, with an encoder and a "
                "decoder. Use method=lora, pissa or olora."
            )
        with warnings.catch_warnings():
            # PEFT warns about what it would do otherwise.
            warnings.simplefilter("ignore")
            try:
                initialize_lora_eva_weights(network.backbone, _Passes(rows, self.config.r), show_progress_bar=False)
            except IndexError as error:
                # DeBERTa passes its position table through the same layers.
                raise HarnessError(
                    f"method={self.name} takes its factors from the tokens that a layer sees, and some layers of "
                    "this model see something else. Use method=lora, or another model."
                ) from error


class _Passes:
    """Repeats the batches for EVA, up to a limit."""

    def __init__(self, batches: Sequence[Batch], rank: int) -> None:
        self.batches = batches
        self.rank = rank

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(PASSES):
            yield from self.batches
        tokens = max(int(batch["attention_mask"].sum()) for batch in self.batches)
        raise HarnessError(
            f"EVA finds no {self.rank} directions (method.config.r) in the inputs of the layers after {PASSES} passes "
            f"over the training rows. It needs a batch of at least as many tokens, and the largest has {tokens}; "
            "nor may the texts be all alike. Lower method.config.r, raise train.batch_size, or use method=lora."
        )
