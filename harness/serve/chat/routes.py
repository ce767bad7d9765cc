"""Paths of OpenAI's API: chat completions by models that write, whole or streamed, and the list of these models."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from harness.errors import HarnessError
from harness.serve.batching import Batcher
from harness.serve.bodies import inlined
from harness.serve.chat.bodies import EXAMPLE, Asked, ChatBodies, Shape, event
from harness.serve.guard import PREFIX, error_of, read_body
from harness.serve.loaded import Loaded
from harness.serve.metrics import Metrics
from harness.serve.settings import Refusal, Settings
from harness.tasks.text_generation.replies import Reply, reply


class Service(Protocol):
    """What is asked of a `harness.serve.app.Service`, whose attributes these are."""

    @property
    def models(self) -> Mapping[str, Loaded]:
        """By name."""

    @property
    def settings(self) -> Settings:
        """Limits."""

    @property
    def metrics(self) -> Metrics:
        """Counters."""

    def tenant(self, request: Request) -> str:
        """Return who asks, or refuse."""


class UnknownModel(Refusal):
    """A model that is not served, or answers no conversations."""

    code = "model_not_found"


@dataclass(eq=False)
class Turn:
    """An answer under way.

    Attributes:
        asked: what is asked for.
        say: takes each piece of a streamed answer, in the thread that computes; None: not streamed.
        left: whether nobody waits for it any more.
    """

    asked: Asked
    say: Callable[[str], None] | None
    left: threading.Event = field(default_factory=threading.Event)


class Chat:
    """Chat completions of a service.

    A conversation is a row of its own: the queue of a model answers one after the other.

    Args:
        service: whose models write.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.names = tuple(name for name, model in service.models.items() if model.chats)
        self._bodies, self._began = ChatBodies(service.settings), int(time.time())
        self.batchers: dict[str, Batcher] = {}

    def start(self, lane: Executor) -> list[Coroutine[Any, Any, None]]:
        """Make the queues, and return what runs them.

        Args:
            lane: the thread that computes all models.
        """
        alone = replace(self._service.settings, max_batch=1, max_wait_ms=0.0)
        for name in self.names:
            measure = self._service.metrics.batches(name)
            self.batchers[name] = Batcher(partial(self._replies, name), lane, alone, measure)
        return [batcher.run() for batcher in self.batchers.values()]

    def add_routes(self, app: FastAPI) -> None:
        """Add the paths, if any model writes."""
        if not self.names:
            return
        schema = inlined(self._bodies.model.model_json_schema())
        app.add_api_route(
            f"{PREFIX}chat/completions", self._complete, methods=["POST"], response_model=None, tags=["chat"],
            summary="Answer a conversation, as OpenAI's API does", operation_id="chat_completions",
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": schema, "example": {"model": self.names[0], **EXAMPLE}}
                    },
                }
            },
        )  # fmt: skip
        app.add_api_route(
            f"{PREFIX}models", self._listed, methods=["GET"], response_model=None, tags=["chat"],
            summary="The models that answer conversations",
        )  # fmt: skip
        app.add_api_route(f"{PREFIX}models/{{name}}", self._described, methods=["GET"], include_in_schema=False)

    async def _listed(self, request: Request) -> Response:
        self._service.tenant(request)
        return JSONResponse({"object": "list", "data": [self._entry(name) for name in self.names]})

    async def _described(self, name: str, request: Request) -> Response:
        self._service.tenant(request)
        self._check(name)
        return JSONResponse(self._entry(name))

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "harness"}

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise UnknownModel(404, f"No model {name!r} answers conversations here: {', '.join(self.names)} do.")

    async def _complete(self, request: Request) -> Response:
        self._service.tenant(request)
        asked = self._bodies.asked(await read_body(request, self._service.settings))
        self._check(asked.model)
        shape = Shape.new(asked.model, self._service.models[asked.model].digest)
        if asked.stream:
            return await self._streamed(asked, shape)
        turn = Turn(asked, None)
        try:
            (found,) = await self.batchers[asked.model].submit([turn], None)
        finally:
            turn.left.set()
        return JSONResponse(replace(shape, digest=found[1]).completion(found[0]))

    async def _streamed(self, asked: Asked, shape: Shape) -> Response:
        """Answer with the status of a failure that shows before the first piece, else with a stream."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str]()
        turn = Turn(asked, lambda piece: _pass(loop, pieces, piece))
        task = asyncio.ensure_future(self.batchers[asked.model].submit([turn], None))
        first = asyncio.ensure_future(pieces.get())
        try:
            await asyncio.wait((task, first), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        except BaseException:
            turn.left.set()
            task.cancel()
            raise
        finally:
            if not first.done():
                first.cancel()
        begun = [first.result()] if first.done() and not first.cancelled() else []
        events = self._events(turn, shape, task, pieces, begun)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _events(
        self, turn: Turn, shape: Shape, task: asyncio.Future[Any], pieces: asyncio.Queue[str], begun: list[str]
    ) -> AsyncIterator[bytes]:
        try:
            yield event(shape.piece({"role": "assistant", "content": ""}))
            for piece in begun:
                yield event(shape.piece({"content": piece}))
            while not (task.done() and pieces.empty()):
                following = asyncio.ensure_future(pieces.get())
                await asyncio.wait((task, following), return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    yield event(shape.piece({"content": following.result()}))
                else:
                    following.cancel()
            try:
                ((found, _),) = task.result()
            except (Refusal, HarnessError) as error:
                status = error.status if isinstance(error, Refusal) else 422
                yield event(error_of(PREFIX, status, str(error))[1])
                return
            except Exception:
                yield event(error_of(PREFIX, 500, "The service failed on this request; its log has more.")[1])
                raise
            yield event(shape.piece({}, found))
            if turn.asked.usage:
                yield event(shape.numbers(found))
            yield event("[DONE]")
        finally:  # also when the client has left
            turn.left.set()
            task.cancel()

    def _replies(self, name: str, turns: Sequence[Turn], _: Sequence[str] | None) -> list[tuple[Reply, str]]:
        """Write the answers, in the thread that computes, with the digests of the model that does."""
        model = self._service.models[name]
        predictor: Any = model.predictor
        found = []
        for turn in turns:
            decoding = turn.asked.decoding(predictor.task.writing.decoding)
            made = reply(
                predictor.task, predictor.network, predictor.tokenizer, turn.asked.messages, decoding, turn.say,
                turn.left.is_set,
            )  # fmt: skip
            tokens = self._service.metrics.tokens
            tokens.labels(name, "prompt").inc(made.prompt_tokens)
            tokens.labels(name, "completion").inc(made.written_tokens)
            found.append((made, model.digest))
        return found


def _pass(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str], piece: str) -> None:
    with suppress(RuntimeError):  # the service has stopped meanwhile
        loop.call_soon_threadsafe(pieces.put_nowait, piece)
