"""The next turn of one conversation, piece by piece while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.tasks.text_generation.data import Message
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.generation import Output, generate
from harness.tasks.text_generation.runtime import TextGenerationRuntime

# Characters at the end of a text that the next token may change: tokenizers that clean up spaces join " n't", the
# longest of what they join, to the word before.
HELD = 4
BROKEN = "\ufffd"  # stands for bytes that are not a whole character yet


@dataclass(frozen=True)
class Reply:
    """What was written.

    Attributes:
        text: the text.
        prompt_tokens, written_tokens: numbers of tokens, without an end token.
        cut: whether it was cut at the most tokens, before the model ended it.
    """

    text: str
    prompt_tokens: int
    written_tokens: int
    cut: bool


def reply(
    task: TextGenerationRuntime,
    network: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    decoding: Decoding,
    say: Callable[[str], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Reply:
    """Write the next turn of a conversation.

    A conversation without a system message gets that of training, if there was one.

    Args:
        task: the runtime of the saved model.
        network, tokenizer: of the model.
        messages: {role, content}, the last one of the user.
        decoding: how the text is chosen.
        say: called with each further piece of the text; joined they are the text. With beams there is one piece.
        stopped: asked after each token whether nobody wants the rest.

    Raises:
        HarnessError: the model was not tuned on conversations, or the conversation leaves no room for the reply.
    """
    encoder = task.encoder(tokenizer, network.backbone)
    (prompt,) = encoder.prompts([task.conversation(messages)])
    room = encoder.max_length - (0 if encoder.encoder_decoder else len(prompt))
    if len(prompt) > encoder.max_length or decoding.max_new_tokens > room:
        raise HarnessError(
            f"The conversation has {len(prompt)} tokens, and the model reads {encoder.max_length}, which leaves room "
            f"for {max(0, room)} of the {decoding.max_new_tokens} that are asked for: shorten it, or lower max_tokens."
        )
    said = ""

    def watch(output: Output | None) -> bool:
        nonlocal said
        if say is not None and output is not None:
            held = max(HELD, *(len(text) - 1 for text in decoding.stop), 0)
            sure = output.text.rstrip(BROKEN)[:-held]
            if len(sure) > len(said) and sure.startswith(said):
                say(sure[len(said) :])
                said = sure
        return stopped()

    ((written,),) = generate(network.backbone, tokenizer, [prompt], decoding, 1, watch=watch)
    if say is not None and len(written.text) > len(said):
        say(written.text[len(said) :])
    return Reply(written.text, len(prompt), len(written.tokens), written.cut)
