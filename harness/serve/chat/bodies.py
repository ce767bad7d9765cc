"""What chat completions look like: requests, answers, and the pieces of a streamed answer."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, create_model

from harness.serve.bodies import Body, parsed, readable
from harness.serve.settings import Refusal, Settings
from harness.tasks.text_generation.data import Message
from harness.tasks.text_generation.decoding import LEAST, Decoding
from harness.tasks.text_generation.replies import Reply

MOST_MESSAGES, MOST_STOPS = 200, 4
EXAMPLE = {"messages": [{"role": "user", "content": "Where is my parcel?"}], "max_tokens": 64}


class StreamOptions(Body):
    """What a stream has besides its pieces."""

    include_usage: StrictBool = False


@dataclass(frozen=True)
class Asked:
    """A chat completion that is asked for.

    Attributes:
        model: name of the model.
        messages: {role, content}, the last one of the user.
        max_tokens, temperature, seed: None as the model was evaluated; a seed of None is drawn.
        stop: further strings that end the answer.
        stream: whether it is answered piece by piece.
        usage: whether a stream ends with the numbers of tokens.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None
    temperature: float | None
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    usage: bool

    def decoding(self, own: Decoding) -> Decoding:
        """Return how the answer is chosen, by a model with settings of its own (`task.generate`)."""
        temperature = own.temperature if self.temperature is None else self.temperature
        seed = secrets.randbelow(2**31) if self.seed is None else self.seed
        return replace(
            own,
            max_new_tokens=self.max_tokens or own.max_new_tokens,
            temperature=temperature,
            num_beams=1 if self.temperature else own.num_beams,
            samples=1,
            stop=(*own.stop, *self.stop),
            seed=seed,
        )


class ChatBodies:
    """Bodies of requests for chat completions.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        most = Field(max_length=settings.max_chars)
        content: Any = Annotated[str, most, AfterValidator(readable), BeforeValidator(_joined)]
        role: Any = Literal["system", "developer", "user", "assistant"]
        message: Any = create_model("ChatMessage", __base__=Body, role=(role, ...), content=(content, ...))
        stop: Any = Annotated[str, Field(min_length=1, max_length=200)]
        stops: Any = Annotated[list[stop], Field(max_length=MOST_STOPS), BeforeValidator(_as_list)]
        number: Any = StrictFloat | StrictInt
        count: Any = Annotated[StrictInt, Field(ge=1)] | None
        fields: dict[str, Any] = {
            "model": (str, ...),
            "messages": (Annotated[list[message], Field(min_length=1, max_length=MOST_MESSAGES)], ...),
            "max_tokens": (count, None),
            "max_completion_tokens": (count, None),
            "temperature": (Annotated[number, Field(ge=0, le=2), AfterValidator(_hot_enough)] | None, None),
            "stop": (stops | None, None),
            "seed": (Annotated[StrictInt, Field(ge=0, lt=2**31)] | None, None),
            "stream": (StrictBool | None, None),
            "stream_options": (StreamOptions | None, None),
            "user": (str | None, None),
            # What clients send by default; other values would change the answer, and are refused.
            "n": (Annotated[number, _only(1)] | None, None),
            "top_p": (Annotated[number, _only(1)] | None, None),
            "presence_penalty": (Annotated[number, _only(0)] | None, None),
            "frequency_penalty": (Annotated[number, _only(0)] | None, None),
        }
        self.model: Any = create_model("ChatCompletionRequest", __base__=Body, **fields)

    def asked(self, body: bytes) -> Asked:
        """Read a body.

        Raises:
            Refusal: 400 or 422; the problems are listed.
        """
        found = parsed(self.model, body)
        if found.max_tokens is not None and found.max_completion_tokens is not None:
            raise Refusal(422, "max_tokens and max_completion_tokens are the same: give one of them.")
        if found.messages[-1].role != "user":
            raise Refusal(422, "The last of messages must be of the role user: the model answers it.")
        messages = tuple(
            {"role": "system" if each.role == "developer" else each.role, "content": each.content}
            for each in found.messages
        )
        usage = found.stream_options is not None and found.stream_options.include_usage
        return Asked(
            found.model, messages, found.max_tokens or found.max_completion_tokens, found.temperature,
            tuple(found.stop or ()), found.seed, bool(found.stream), usage,
        )  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """An answer to one request.

    Attributes:
        model: name of the model.
        digest: of its files.
        id: of the answer.
        created: seconds since 1970.
    """

    model: str
    digest: str
    id: str
    created: int

    @classmethod
    def new(cls, model: str, digest: str) -> Shape:
        """Begin an answer."""
        return cls(model, digest, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))

    def completion(self, reply: Reply) -> dict[str, Any]:
        """Return the whole answer."""
        message = {"role": "assistant", "content": reply.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(reply)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(reply)}

    def piece(self, delta: dict[str, str], reply: Reply | None = None) -> dict[str, Any]:
        """Return a piece of a streamed answer; the last one has the reply."""
        reason = None if reply is None else _reason(reply)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def numbers(self, reply: Reply) -> dict[str, Any]:
        """Return the piece with the numbers of tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(reply)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.digest,
        }  # fmt: skip


def usage(reply: Reply) -> dict[str, int]:
    """Return the numbers of tokens."""
    return {
        "prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.written_tokens,
        "total_tokens": reply.prompt_tokens + reply.written_tokens,
    }  # fmt: skip


def event(content: Any) -> bytes:
    """Return a server-sent event."""
    shown = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, allow_nan=False)
    return f"data: {shown}\n\n".encode()


def _joined(content: Any) -> Any:
    """Join the parts of a message, which are texts."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError('it must be a text, or a list of parts {"type": "text", "text": "..."}')
    return "".join(part["text"] for part in content)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _hot_enough(value: float) -> float:
    if 0 < value < LEAST:
        raise ValueError(f"it must be 0 (the likeliest token), or {LEAST:g} or more")
    return value


def _only(wanted: int) -> AfterValidator:
    def check(value: float) -> float:
        if value != wanted:
            raise ValueError(f"this service knows {wanted} only: leave it out")
        return value

    return AfterValidator(check)


def _reason(reply: Reply) -> str:
    return "length" if reply.cut else "stop"
