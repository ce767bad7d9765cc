"""Where training begins in a backbone whose first blocks nothing changes, and passes that begin there, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.examples import STATES

TOLERANCE = 1e-4


class FrozenPrefix:
    """The border between the blocks that stay as they are, with all that lies below them, and those that train.

    What does not train does not drop out either. So a row's states, which are what the first trained block reads, never
    change: a batch that brings them goes through the trained blocks alone, and one that does not through all.

    Args:
        backbone: a transformers model; its blocks are called one after another, each on what the one before it gave.
        blocks: all of them, first to last.
        frozen: how many of the first ones stay as they are; below all of them where it is 0.
    """

    def __init__(self, backbone: nn.Module, blocks: Sequence[nn.Module], frozen: int) -> None:
        self.backbone, self.frozen = backbone, frozen
        self._trained = blocks[frozen:]
        self._given: Tensor | None = None
        self._tuples = False  # whether blocks give their output in a tuple
        self._works: bool | None = None  # None: it was not tried yet
        for block in blocks[:frozen]:
            block.forward = self._or_pass(block.forward)  # of this block alone
        backbone.register_forward_pre_hook(self._take, with_kwargs=True)
        blocks[frozen].register_forward_pre_hook(self._give, with_kwargs=True)

    def train(self, mode: bool) -> None:
        """Set the mode of what trains; what lies below stays in eval mode."""
        base: Any = self.backbone.base_model
        base.eval()
        for block in self._trained:
            block.train(mode)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute what the first trained block reads: (n, length, d)."""
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
        """Whether passes can begin here, by trying, once: some blocks hand more than states to the next."""
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
    """The pass has come as far as it must."""


def _output(outputs: Any) -> Tensor:
    """Token vectors, or the logits of an architecture's own head."""
    found: Tensor = outputs.logits if "logits" in outputs else outputs.last_hidden_state
    return found
