"""The next turn of a conversation: its pieces are its text, and it ends when nobody wants it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.text_generation.data import Writing
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.replies import reply
from harness.tasks.text_generation.runtime import TextGenerationRuntime
from tests.helpers import tiny_writers

TALK = [{"role": "user", "content": "coffee near the river"}]
WAYS = {
    "greedy": Decoding(30),
    "stops": Decoding(30, stop=("zzzzzzzz", "\n\n\n")),
    "drawn": Decoding(30, temperature=1.5, seed=4),
    "beams": Decoding(12, num_beams=3),
}


@pytest.mark.parametrize("make", [tiny_writers.decoder, tiny_writers.encoder_decoder])
@pytest.mark.parametrize("way", WAYS)
def test_pieces_are_the_text(make: Any, way: str) -> None:
    """Whatever random weights write, most of which is no whole character; with beams in one piece."""
    tokens = tiny_writers.tokenizer()
    network = SimpleNamespace(backbone=make(tokens))
    task = TextGenerationRuntime(Writing(chat=True), "exact_match")
    pieces: list[str] = []
    whole = reply(task, network, tokens, TALK, WAYS[way])
    streamed = reply(task, network, tokens, TALK, WAYS[way], pieces.append)
    assert streamed == whole and "".join(pieces) == whole.text
    assert len(pieces) <= 1 or way != "beams"
    asked = [0]

    def stopped() -> bool:
        asked[0] += 1
        return asked[0] >= 3

    early = reply(task, network, tokens, TALK, WAYS[way], stopped=stopped)
    assert early.written_tokens <= 3 and asked[0] <= 3


def test_system_message_and_room() -> None:
    """That of training stands before a conversation without one; what leaves no room is told."""
    tokens = tiny_writers.tokenizer()
    network = SimpleNamespace(backbone=tiny_writers.decoder(tokens))
    trained = TextGenerationRuntime(Writing(chat=True, system="be brief"), "exact_match")
    plain = TextGenerationRuntime(Writing(chat=True), "exact_match")
    before = [{"role": "system", "content": "be brief"}, *TALK]
    few = Decoding(2)
    assert reply(trained, network, tokens, TALK, few) == reply(plain, network, tokens, before, few)
    own = [{"role": "system", "content": "x"}, *TALK]
    assert reply(trained, network, tokens, own, few) == reply(plain, network, tokens, own, few)
    with pytest.raises(HarnessError, match="leaves room for"):
        reply(plain, network, tokens, TALK, Decoding(250))
    with pytest.raises(HarnessError, match="tuned on prompts"):
        reply(TextGenerationRuntime(Writing(), "exact_match"), network, tokens, TALK, few)
