"""The HTTP application: predictions and feedback for each model, health, metrics, the playground."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

import harness
from harness.errors import HarnessError
from harness.serve.batching import Batcher
from harness.serve.bodies import Bodies, Rows
from harness.serve.chat.routes import Chat
from harness.serve.explaining import MOST_SPANS, SIMILAR, explanation, occluded, told, weights
from harness.serve.feedback import FeedbackStore
from harness.serve.files.samples import FILES
from harness.serve.files.uploads import Held, Uploads
from harness.serve.guard import Guard, error_of, read_body
from harness.serve.keys import Keys
from harness.serve.live.trial import Trial, answered_by
from harness.serve.loaded import Loaded
from harness.serve.metrics import Metrics
from harness.serve.settings import Refusal, Settings
from harness.serve.watching.collecting import StatisticsStore
from harness.serving.confidence.judging import Judged

PAGE = Path(__file__).with_name("playground.html")
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "problems": {"type": "array", "items": {"type": "string"}}},
    "required": ["error"],
}
_SAID = {
    400: "the body is no UTF-8 JSON", 401: "no key, or an unknown one",
    403: "a form with files from another site's page", 408: "the body arrived too slowly",
    413: "the body is too large", 415: "the body is not declared as JSON", 422: "the body does not fit",
    429: "the queue is full: ask again after Retry-After seconds", 503: "stopping, or no answer in time",
}  # fmt: skip
SHADOWS = 8  # requests that wait for a shadow; it skips what comes meanwhile, so that answers are not delayed by more
_SUMMARIES = {
    "predict": "Predict for one row or many", "feedback": "Tell the right answer",
    "explain": "Tell which words decide an answer",
}  # fmt: skip
_Handler = Callable[[str, Request], Awaitable[Response]]


class Service:
    """Models with their queues.

    Args:
        models: loaded models by name; the first is the default one.
        settings: limits.
        keys: who may ask.
        feedback: where feedback goes.
        precision: share of right answers that models of classes keep by abstaining; None: they answer everything.
        trial: a second model that answers some requests to the default one, or sees them; None: none does.
        statistics: counts answers and feedback; None: nothing does.
    """

    def __init__(
        self,
        models: Mapping[str, Loaded],
        settings: Settings,
        keys: Keys,
        feedback: FeedbackStore,
        precision: float | None = None,
        trial: Trial | None = None,
        statistics: StatisticsStore | None = None,
    ) -> None:
        self.models, self.settings, self.keys, self.feedback = dict(models), settings, keys, feedback
        self.precision, self.trial, self.statistics = precision, trial, statistics
        if trial is not None:
            for name, model in models.items():
                trial.begin(name, model.digest)
        self.rule = lru_cache(256)(lambda name, wanted: self.models[name].rule(wanted))
        self._shadows: set[asyncio.Task[None]] = set()
        self.beside: list[Callable[[], Awaitable[None]]] = []  # what else runs while the service does
        if statistics is not None:
            self.beside.append(statistics.run)
        self.metrics = Metrics()
        self.ready = self.draining = False
        self.bodies = {
            name: Bodies(each.kind, each.labels, each.writes, settings, each.retrieves, each.items)
            for name, each in models.items()
        }
        self.uploads = Uploads(settings)
        self.batchers: dict[str, Batcher] = {}
        self.chat = Chat(self)
        self.app = _application(self)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Run the queues."""
        lane = ThreadPoolExecutor(1, thread_name_prefix="model")
        for name in self.models:
            batcher = Batcher(partial(self._judged, name), lane, self.settings, self.metrics.batches(name))
            self.batchers[name] = batcher
            self.metrics.queue.labels(name).set_function(lambda batcher=batcher: batcher.waiting)  # type: ignore[misc] # mypy infers no type for a default
        queues = [*(batcher.run() for batcher in self.batchers.values()), *self.chat.start(lane)]
        coroutines = [*queues, *(start() for start in self.beside)]
        tasks = [asyncio.ensure_future(each) for each in coroutines]
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            lane.shutdown(wait=False)
            self.uploads.close()

    def _judged(self, name: str, texts: Sequence[Any], pairs: Sequence[str] | None) -> Judged:
        return self.models[name].judged(texts, pairs)

    def swap(self, name: str, model: Loaded) -> None:
        """Replace a model by one of the same inputs and classes; batches under way end with the old one."""
        self.models[name] = model
        self.rule.cache_clear()
        if self.trial is not None:
            self.trial.begin(name, model.digest)

    def drain(self) -> None:
        """Tell clients to go elsewhere: /ready says no, and answers close their connections."""
        self.ready, self.draining = False, True

    def tenant(self, request: Request) -> str:
        """Return who asks.

        Raises:
            Refusal: 401.
        """
        if tenant := self.keys.tenant(request.headers):
            return tenant
        raise Refusal(
            401, "A key is needed: send the header Authorization: Bearer <key>.", headers={"WWW-Authenticate": "Bearer"}
        )

    async def predict_default(self, name: str, request: Request) -> Response:
        """Answer a prediction request that names no model, by the one on trial if it is its turn."""
        return await self.predict(name if self.trial is None else self.trial.chosen(), request, True)

    async def _compare(self, trial: Trial, rows: Rows, judged: Judged) -> None:
        """Let the shadow predict what the default model has answered; what it fails at is only counted."""
        name = trial.second
        try:
            with self.uploads.holding() as held:
                held.add(sum(map(len, rows.files)))
                texts = await self.uploads.ready(self.models[name], rows.files, held) if rows.files else rows.texts
                other = await self.batchers[name].submit(texts, rows.pairs)
        except Exception as error:  # noqa: BLE001 # nobody waits for it
            self.metrics.shadow_failures.labels(type(error).__name__).inc()
            return
        parts = {trial.first: judged, trial.second: other}
        answers = {name: part.by.answers(part.predictions, 1) for name, part in parts.items()}
        digests = {name: part.by.digest for name, part in parts.items()}
        trial.compare({name: (digests[name], [row["prediction"] for row in answers[name]]) for name in parts})

    async def predict(self, name: str, request: Request, default: bool = False) -> Response:
        """Answer a prediction request."""
        self.tenant(request)
        with self.uploads.holding() as held:
            return await self._predict(name, request, default, held)

    async def _predict(self, name: str, request: Request, default: bool, held: Held) -> Response:
        bodies = self.bodies[name]
        compared = default and self.trial is not None and not self.trial.share and len(self._shadows) < SHADOWS
        if bodies.kind in FILES:
            rows: Rows = await self.uploads.rows(request, bodies, self.models[name], held, compared)
        else:
            rows = bodies.rows(await read_body(request, self.settings))
        model = self.models[name]
        wanted = rows.precision or (self.precision if model.labels else None)
        rule = None if wanted is None else self.rule(name, wanted)
        judged = await self.batchers[name].submit(rows.texts, rows.pairs)
        if compared and self.trial is not None:
            self._shadows.add(task := asyncio.create_task(self._compare(self.trial, rows, judged)))
            task.add_done_callback(self._shadows.discard)
        if wanted is not None and judged.by is not model:  # another model took its place while the request waited
            rule = judged.by.rule(wanted)
        answers = judged.by.answers(judged.predictions, rows.top, rule, judged)
        if judged.by.labels:
            for each in answers:
                if each.get("abstained"):
                    self.metrics.abstentions.labels(name, each["reason"].partition(":")[0]).inc()
                else:
                    self.metrics.answers.labels(name, each["prediction"]).inc()
        if self.statistics is not None:
            self.statistics.add(name, judged, answers)
        return _json({"model": name, "digest": judged.by.digest, "predictions": answers})

    async def explain(self, name: str, request: Request) -> Response:
        """Answer which words decide a prediction, and which training rows are similar."""
        self.tenant(request)
        asked = self.bodies[name].question(await read_body(request, self.settings))
        if self.settings.max_rows < 3:  # the text whole, and without a word of each of two texts
            raise Refusal(422, "This service explains nothing: it was started with --max-rows below 3.")
        row = occluded(asked.text, asked.pair, min(MOST_SPANS, self.settings.max_rows - 1))
        judged = await self.batchers[name].submit(row.texts, row.pairs)
        probabilities, model = judged.predictions, judged.by
        predicted = int(probabilities[0].argmax())
        label = predicted if asked.label is None else model.labels.index(asked.label)
        answer: dict[str, Any] = {
            "model": name, "prediction": model.labels[predicted], "label": model.labels[label],
            "probability": round(float(probabilities[0, label]), 6),
            "words": told(row, weights(probabilities, label), probabilities[1:, label]),
        }  # fmt: skip
        if model.examples is not None:
            answer["similar"] = model.examples.nearest(judged.features[0], SIMILAR)
        return _json(answer)

    async def take_default_feedback(self, name: str, request: Request) -> Response:
        """Store what a user says of an answer of a path without a name, which either model of a trial has given."""
        return await self.take_feedback(name, request, True)

    async def take_feedback(self, name: str, request: Request, default: bool = False) -> Response:
        """Store what a user says of an answer, for the model that gave it."""
        tenant = self.tenant(request)
        with self.uploads.holding() as held:
            return await self._take(name, tenant, request, default, held)

    async def _take(self, name: str, tenant: str, request: Request, default: bool, held: Held) -> Response:
        bodies = self.bodies[name]
        if bodies.kind in FILES:
            row = await self.uploads.feedback(request, bodies, self.models[name], held)
        else:
            row = bodies.row_of_feedback(await read_body(request, self.settings))
        name = answered_by(row.pop("model", None), name, self.trial if default else None)
        if self.trial is not None and "predicted" in row and "digest" not in row:
            raise Refusal(
                422,
                "A model is on trial, and feedback counts for the one that answered: send digest of the answer, too, "
                "or leave predicted out.",
            )
        stored = await asyncio.to_thread(self.feedback.add, name, tenant, row)
        self.metrics.feedback.labels(name).inc()
        if self.trial is not None:
            self.trial.add(name, row)
        model = self.models[name]
        # Feedback that comes after a swap may be of the model before.
        if self.statistics is not None and "predicted" in row and row.get("digest", model.digest) == model.digest:
            self.statistics.feedback(name, model, row["predicted"] == row["label"])
        return _json({"id": stored}, 201)

    def description(self, name: str) -> dict[str, Any]:
        """Return what a client needs to know of a model."""
        model, bodies = self.models[name], self.bodies[name]
        return {
            "name": name, "task": model.task, "method": model.method, "backbone": model.backbone,
            "inputs": bodies.kind, "labels": list(model.labels), "writes": model.writes, "retrieves": model.retrieves,
            "engine": model.engine,
            "digest": model.digest, "example": bodies.example(), "explains": model.explains,
            "similar": model.examples is not None, "abstains": model.known is not None,
            "feedback": model.takes_feedback, "finds": model.finds,
        }  # fmt: skip


def _application(service: Service) -> FastAPI:
    app = FastAPI(
        title="harness serve", version=harness.__version__, docs_url=None, redoc_url=None, lifespan=service.running,
        description="Predictions of fine-tuned models. Errors are JSON: {error, problems}.",
    )  # fmt: skip
    app.add_middleware(Guard, metrics=service.metrics, draining=lambda: service.draining)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        code = getattr(refusal, "code", None)
        status, content = error_of(request.url.path, refusal.status, refusal.message, refusal.problems, code)
        return _json(content, status, refusal.headers)

    @app.exception_handler(HarnessError)
    async def impossible(request: Request, error: HarnessError) -> Response:
        status, content = error_of(request.url.path, 422, str(error), error.problems)
        return _json(content, status)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        said = {404: "There is no such path; /openapi.json lists them.", 405: "This path has another method."}
        message = said.get(error.status_code, str(error.detail))
        return _json(error_of(request.url.path, error.status_code, message)[1], error.status_code, error.headers)

    _add_common(app, service)
    service.chat.add_routes(app)
    for number, name in enumerate(service.models):
        paths = [f"/models/{name}", *([""] if number == 0 else [])]
        for path in paths:
            _add_model(app, service, name, path)
    if service.keys.digests:
        _add_security(app)
    return app


def _add_common(app: FastAPI, service: Service) -> None:
    page = PAGE.read_bytes()

    @app.get("/", include_in_schema=False)
    async def playground() -> Response:
        policy = (
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
            "img-src blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})

    @app.get("/health", summary="Whether the process lives", responses=_ok({"status": "ok"}))
    async def health() -> Response:
        return _json({"status": "ok"})

    @app.get("/ready", summary="Whether it takes requests", responses=_ok({"status": "ready"}) | _errors(503))
    async def ready() -> Response:
        if service.ready:
            return _json({"status": "ready"})
        return _json({"error": "The service is stopping."}, 503)

    @app.get("/metrics", summary="Counters and histograms, for Prometheus", responses=_errors(401))
    async def metrics(request: Request) -> Response:
        service.tenant(request)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    if service.trial is not None:
        trial = service.trial

        @app.get("/trial", summary="What feedback says of the model on trial", responses=_errors(401))
        async def verdict(request: Request) -> Response:
            service.tenant(request)
            return _json(trial.told())

    @app.get("/models", summary="The models and what they take", responses=_errors(401))
    async def models(request: Request) -> Response:
        service.tenant(request)
        return _json({"models": [service.description(name) for name in service.models]})


def _add_model(app: FastAPI, service: Service, name: str, path: str) -> None:
    bodies = service.bodies[name]
    model, trial = service.models[name], service.trial is not None and not path
    example = {"model": name, "digest": model.digest, "predictions": model.example(bodies.example())}
    predict: _Handler = service.predict_default if trial else service.predict
    ends: list[tuple[str, _Handler, Any, int]] = [("predict", predict, example, 200)]
    if model.takes_feedback:
        take: _Handler = service.take_default_feedback if trial else service.take_feedback
        ends.append(("feedback", take, {"id": "0f3c..."}, 201))
    if model.explains:
        ends.append(("explain", service.explain, explanation(name, model.labels), 200))
    for end, handler, answer, status in ends:
        app.add_api_route(
            f"{path}/{end}",
            _handler(handler, name),
            methods=["POST"],
            summary=_SUMMARIES[end],
            operation_id=f"{end}{path.replace('/', '_')}",
            tags=[name],
            response_model=None,
            status_code=status,
            responses=_ok(answer, status) | _errors(400, 401, 403, 408, 413, 415, 422, 429, 503),
            openapi_extra={"requestBody": {"required": True, "content": bodies.contents(end)}},
        )


def _handler(method: _Handler, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await partial(method, name)(request)

    return handle


def _add_security(app: FastAPI) -> None:
    """Say in the OpenAPI document that keys are needed."""
    made = app.openapi()
    made.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in made["paths"].items():
        if path not in ("/health", "/ready"):
            for operation in methods.values():
                operation["security"] = [{"key": []}]


def _ok(example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": "done", "content": {"application/json": {"example": example}}}}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _SAID[status], "content": {"application/json": {"schema": _ERROR}}}
        for status in statuses
    }


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode(),
        status, dict(headers) if headers else None, "application/json",
    )  # fmt: skip
