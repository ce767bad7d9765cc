"""Training that starts after a frozen prefix of the backbone, and passes that start there, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.examples import STATES

TOLERANCE = 1e-4


class FrozenPrefix:
    """The first blocks of a backbone, with everything below them, which are not trained.

    Frozen layers have no dropout either, so the hidden states that a row gives the first trained block never change. A
    batch that brings its hidden states passes through the trained blocks only; one without them passes through all
    blocks.

    Args:
        backbone: a transformers model that calls its blocks in sequence, each on the output of the one before.
        blocks: all blocks, first to last.
        frozen: how many of the first blocks are frozen; with 0, only the layers below the blocks are.
    """

    def __init__(self, backbone: nn.Module, blocks: Sequence[nn.Module], frozen: int) -> None:
        self.backbone, self.frozen = backbone, frozen
        self._trained = blocks[frozen:]
        self._given: Tensor | None = None
        self._tuples = False  # whether blocks return a tuple
        self._works: bool | None = None  # None: not tested yet
        for block in blocks[:frozen]:
            block.forward = self._or_pass(block.forward)  # of this instance only
        backbone.register_forward_pre_hook(self._take, with_kwargs=True)
        blocks[frozen].register_forward_pre_hook(self._give, with_kwargs=True)

    def train(self, mode: bool) -> None:
        """Set the mode of the trained blocks; all layers below stay in eval mode."""
        base: Any = self.backbone.base_model
        base.eval()
        for block in self._trained:
            block.train(mode)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the input of the first trained block: (n, length, d)."""
        caught: list[Tensor] = []

        def catch(block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            caught.append(arguments[0] if arguments else named["hidden_states"])
            raise _Caught

        handle = self._trained[0].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            self.backbone(**batch)
        except _Caught:
            pass
        finally:
            handle.remove()
        return caught[0]

    def works(self, batch: dict[str, Tensor]) -> bool:
        """Return whether passes can start here, tested once: some blocks pass on more than hidden states."""
        if self._works is None:
            self._works = self._try(batch)
        return self._works

    def _try(self, batch: dict[str, Tensor]) -> bool:
        training = self.backbone.training
        self.backbone.eval()
        try:
            with torch.no_grad():
                whole = _output(self.backbone(**batch))
                states = self.states(batch) * batch["attention_mask"].unsqueeze(-1)
                for self._tuples in (False, True):
                    try:
                        part = _output(self.backbone(**batch, **{STATES: states}))
                    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
                        continue
                    text = batch["attention_mask"].bool() if part.ndim == 3 else ...
                    if states.dtype == torch.float32 and torch.allclose(
                        whole[text], part[text], rtol=TOLERANCE, atol=TOLERANCE
                    ):
                        return True
            return False
        finally:
            self.backbone.train(training)
            self.train(training)

    def _take(
        self, backbone: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._given = named.pop(STATES, None)
        return arguments, named

    def _give(
        self, block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._given is None:
            return None
        if arguments:
            return (self._given, *arguments[1:]), named
        return arguments, named | {"hidden_states": self._given}

    def _or_pass(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def pass_on(*arguments: Any, **named: Any) -> Any:
            if self._given is None:
                return forward(*arguments, **named)
            hidden = arguments[0] if arguments else named["hidden_states"]
            return (hidden, None) if self._tuples else hidden

        return pass_on


class _Caught(Exception):
    """Ends a pass once the hidden states are caught."""


def _output(outputs: Any) -> Tensor:
    """Return the token vectors, or the logits of an architecture's own head."""
    found: Tensor = outputs.logits if "logits" in outputs else outputs.last_hidden_state
    return found
