"""What requests to a model look like, as its family needs it: validation, JSON schema and examples."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from harness.serve.files.multipart import FORM, parts_of, values_of
from harness.serve.files.samples import FILES, IMAGE, SOUND, encoded_sample
from harness.serve.settings import Refusal, Settings

SINGLE, PAIR, PROMPT, HISTORY = "text", "pair", "prompt", "history"  # kinds of inputs, and those of `FILES`
TOLD = 10  # problems that an answer lists


@dataclass(frozen=True)
class Rows:
    """The rows of a request.

    Attributes:
        texts: n texts, or conversations: tuples of {role, content}; users or lists of items; files, as bytes, and then
            what a model makes of these.
        pairs: n second texts; None for models of single texts.
        top: number of classes whose probabilities are wanted; None: all.
        precision: wanted share of right answers, for which rows may go unanswered; None: the service's own.
        files: n files that `texts` were made of, if they are wanted.
    """

    texts: tuple[Any, ...]
    pairs: tuple[str, ...] | None
    top: int | None = None
    precision: float | None = None
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Question:
    """A row whose answer is to be explained.

    Attributes:
        text: its text.
        pair: its second text; None for models of single texts.
        label: the class to explain; None: the predicted one.
    """

    text: str
    pair: str | None
    label: str | None


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Message(Body):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Bodies:
    """The bodies that a model takes.

    Args:
        kind: text | pair | prompt | image | sound | history.
        labels: its C class names; () if it predicts none.
        writes: whether it writes texts.
        settings: limits.
        retrieves: whether it finds passages; else, without classes and if it does not write, it predicts numbers.
        items: a few items that a model of histories knows, for examples.
    """

    def __init__(
        self, kind: str, labels: Sequence[str], writes: bool, settings: Settings, retrieves: bool = False,
        items: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.kind, self.labels, self._items = kind, tuple(labels), tuple(items)
        self.writes = writes or retrieves  # whether right answers are texts
        checked = AfterValidator(readable)
        self._settings = settings
        text: Any = Annotated[str, Field(min_length=1, max_length=settings.max_chars, pattern=r"\S"), checked]
        message: Any = create_model(
            "Message", __base__=Message, content=(Annotated[str, Field(max_length=settings.max_chars), checked], ...)
        )
        many: Any = Field(default=None, min_length=1, max_length=settings.max_rows)
        one: dict[str, Any] = {
            SINGLE: {"text": text},
            PAIR: {"text": text, "pair": text},
            PROMPT: {"prompt": text, "messages": Annotated[list[message], Field(min_length=1, max_length=200)]},
            HISTORY: {"user": text, "items": Annotated[list[text], Field(min_length=1, max_length=10_000)]},
            IMAGE: {"image": _File},
            SOUND: {"sound": _File},
        }[kind]
        self._many = "histories" if kind == HISTORY else f"{kind}s"
        row: Any = {PAIR: tuple[text, text], HISTORY: one.get("items"), **dict.fromkeys(FILES, _File)}.get(kind, text)
        rows: Any = list[row]
        self._one = tuple(one)
        predict: dict[str, Any] = {name: (type_ | None, None) for name, type_ in one.items()}
        predict[self._many] = (rows | None, many)
        if retrieves or kind == HISTORY:
            predict["top"] = (
                Annotated[StrictInt, Field(ge=1)] | None,
                Field(default=None, description="number of passages or items that are returned; null: ten"),
            )
        if self.labels:
            predict["top"] = (
                Annotated[StrictInt, Field(ge=1)] | None,
                Field(default=None, description="number of classes whose probabilities are returned; null: all"),
            )
            predict["precision"] = (
                Annotated[StrictFloat, Field(gt=0, lt=1)] | None,
                Field(default=None, description="share of right answers: rows that endanger it are not answered"),
            )
        answer: Any = Literal[self.labels] if self.labels else text if self.writes else _Number
        feedback: dict[str, Any] = {name: (type_ | None, None) for name, type_ in one.items()}
        feedback["label"] = (answer, Field(description="what the right answer is"))
        feedback["predicted"] = (answer | None, Field(default=None, description="what the model had answered"))
        named = "of the answer that this is about"
        feedback["model"] = (str | None, Field(default=None, description=f"model {named}"))
        feedback["digest"] = (_Digest | None, Field(default=None, description=f"digest {named}"))
        self.predict: Any = create_model("PredictRequest", __base__=Body, **predict)
        self.feedback: Any = create_model("FeedbackRequest", __base__=Body, **feedback)
        explain: dict[str, Any] = {name: (type_ | None, None) for name, type_ in one.items()}
        explain["label"] = (answer | None, Field(default=None, description="class to explain; null: the predicted one"))
        self.explain: Any = create_model("ExplainRequest", __base__=Body, **explain)

    def rows(self, body: bytes, form: str | None = None) -> Rows:
        """Read the body of a prediction request.

        Args:
            body: JSON, or a form with files.
            form: the type of a form, which names its boundary; None: JSON.

        Raises:
            Refusal: 400 or 422; the problems are listed.
        """
        if form is None:
            found = parsed(self.predict, body)
        else:
            parts = parts_of(body, form, self._settings.max_rows + len(self.predict.model_fields))
            found = _filled(self.predict, values_of(parts, self.kind, self._many))
        many, top = getattr(found, self._many), getattr(found, "top", None)
        precision = getattr(found, "precision", None)
        ways = [self._ways_of_one(), self._many]
        given = [many] if many is not None else []
        single = self._single(found)
        if (single is not None) + len(given) != 1:
            raise _wrong(f"Give either {' or '.join(ways)}.")
        if single is not None:
            return Rows((single[0],), None if self.kind != PAIR else (single[1],), top, precision)
        if self.kind == PAIR:
            return Rows(tuple(first for first, _ in many), tuple(second for _, second in many), top, precision)
        return Rows(tuple(many), None, top, precision)

    def question(self, body: bytes) -> Question:
        """Read the body of an explanation request, of a model of classes.

        Raises:
            Refusal: 400 or 422; the problems are listed.
        """
        found = parsed(self.explain, body)
        if (single := self._single(found)) is None:
            raise _wrong(f"Give {self._ways_of_one()}.")
        return Question(single[0], single[1] if self.kind == PAIR else None, found.label)

    def row_of_feedback(self, body: bytes, form: str | None = None) -> dict[str, Any]:
        """Read the body of a feedback request, see `rows`: its row in the file, and perhaps `model`.

        Raises:
            Refusal: 400 or 422; the problems are listed.
        """
        if form is None:
            found = parsed(self.feedback, body)
        else:  # models of files answer with a class or a text
            parts = parts_of(body, form, len(self.feedback.model_fields))
            found = _filled(self.feedback, values_of(parts, self.kind, self._many, texts=True))
        if self._single(found) is None:
            raise _wrong(f"Give {self._ways_of_one()}.")
        content: dict[str, Any] = found.model_dump(exclude_none=True)
        return content

    def _single(self, found: Any) -> tuple[Any, ...] | None:
        """Return the one row that a body names by itself: its text, or texts; None if it names none."""
        values = {name: getattr(found, name) for name in self._one if getattr(found, name) is not None}
        if not values:
            return None
        if self.kind in (PROMPT, HISTORY):
            if len(values) > 1:
                raise _wrong(f"Give either {' or '.join(self._one)}.")
            (value,) = values.values()
            if isinstance(value, str) or self.kind == HISTORY:
                return (value,)
            if value[-1].role != "user":
                raise _wrong("The last of messages must be of the role user: the model answers it.")
            return (tuple({"role": each.role, "content": each.content} for each in value),)
        if missing := [name for name in self._one if name not in values]:
            raise _wrong(f"{missing[0]} is missing: this model takes two texts, text and pair.")
        return tuple(values[name] for name in self._one)

    def _ways_of_one(self) -> str:
        return " and ".join(self._one) if self.kind == PAIR else " or ".join(self._one)

    def example(self) -> dict[str, Any]:
        """Return an example of a prediction request's body."""
        examples: dict[str, dict[str, Any]] = {
            SINGLE: {"texts": ["Where is my parcel?", "I forgot my password."]},
            PAIR: {"pairs": [["A man is eating.", "Somebody eats."]]},
            PROMPT: {"prompts": ["Where is my parcel?"]},
            HISTORY: {"items": list(self._items)},
            **{kind: {kind: encoded_sample(kind)} for kind in FILES},
        }
        return examples[self.kind]

    def feedback_example(self) -> dict[str, Any]:
        """Return an example of a feedback request's body."""
        texts = {
            SINGLE: {"text": "Where is my parcel?"},
            PAIR: {"text": "A man is eating.", "pair": "Somebody eats."},
            PROMPT: {"prompt": "Where is my parcel?"},
            **{kind: {kind: encoded_sample(kind)} for kind in FILES},
        }[self.kind]
        return {**texts, "label": self.labels[0] if self.labels else "The right answer." if self.writes else 4.5}

    def explain_example(self) -> dict[str, Any]:
        """Return an example of an explanation request's body."""
        example = self.feedback_example()
        del example["label"]
        return example

    def contents(self, end: str) -> dict[str, Any]:
        """Return what the OpenAPI document says of a request's body: its types, with schemas and examples.

        Args:
            end: of the path: predict | feedback | explain.
        """
        shown = {"predict": self.example, "feedback": self.feedback_example, "explain": self.explain_example}[end]()
        schema = self.schemas()[end]
        found: dict[str, Any] = {"application/json": {"schema": schema, "example": shown}}
        if self.kind in FILES:
            file = {"type": "string", "format": "binary"}
            files = {"type": "array", "items": file, "minItems": 1, "maxItems": self._settings.max_rows}
            fields = schema["properties"] | {self.kind: file} | ({self._many: files} if end == "predict" else {})
            found[FORM] = {"schema": schema | {"properties": fields}}
        return found

    def schemas(self) -> dict[str, dict[str, Any]]:
        """Return the JSON schemas of the bodies of requests, by the end of their paths, without references."""
        models = {"predict": self.predict, "feedback": self.feedback, "explain": self.explain}
        return {end: inlined(model.model_json_schema()) for end, model in models.items()}


def readable(text: str) -> str:
    """Return a text that has characters, and no halves of them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None
    if not text.strip():
        raise ValueError("it is blank")
    return text


def _file(value: Any) -> Any:
    """Return the bytes of a file: of a form as they are, of JSON from base64 or a data URL."""
    if not isinstance(value, str):
        return value
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # tools end it, or every line, with a newline
    except (binascii.Error, ValueError):
        raise ValueError("it must be a file as base64: base64 -w0 FILE prints it") from None


_File: Any = Annotated[
    bytes,
    BeforeValidator(_file),
    Field(min_length=1),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "minLength": 1, "description": "a file"}),
]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return value


_Digest: Any = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]  # of a model's files, as answers have it
_Number: Any = Annotated[StrictFloat | StrictInt, AfterValidator(_finite)]


def parsed(model: Any, body: bytes) -> Any:
    """Read a body of JSON.

    Args:
        model: what it must be, a class of pydantic.
        body: its bytes.

    Raises:
        Refusal: 400 or 422; the problems are listed.
    """
    body = body.removeprefix(codecs.BOM_UTF8)  # which PowerShell's files begin with
    if not body.strip():
        raise Refusal(400, "The request has no body: send JSON.")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"The body is not UTF-8 text: byte {error.start} is not part of a character.") from None
    return _validated(model, lambda: model.model_validate_json(body))


def _filled(model: Any, values: Mapping[str, Any]) -> Any:
    """Return a body of the fields of a form, or refuse it, see `parsed`."""
    return _validated(model, lambda: model.model_validate(values))


def _validated(model: Any, validate: Callable[[], Any]) -> Any:
    """Return what a class of pydantic makes of a body, or refuse it, see `parsed`."""
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    except RecursionError:
        raise Refusal(400, "The body is nested too deep.") from None
    if any(each["type"] == "json_invalid" for each in found):
        raise Refusal(400, f"The body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}.")
    told = tuple(dict.fromkeys(_sentence(each, model) for each in found))
    more = (f"and {len(told) - TOLD} more",) if len(told) > TOLD else ()
    raise Refusal(422, f"The body does not fit: {told[0]}", (*told[:TOLD], *more))


def _sentence(error: Any, model: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in ("float", "int"))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such field; known: {', '.join(_fields_at(model, error['loc']))}"
    elif error["type"] == "literal_error" and len(message) > 200:
        message = "it is none of the model's classes, which GET /models lists"
    elif error["type"] == "string_pattern_mismatch":
        message = "it is blank"
    return f"{where}: {message}." if where else f"{message}."


def _fields_at(model: Any, place: Sequence[str | int]) -> Iterable[str]:
    """Return the fields of the object that a field is in, such as those of a message of a list."""
    for part in place[:-1]:
        found = model.model_fields.get(part) if isinstance(part, str) else None
        model = next(_models_in(found.annotation), model) if found is not None else model
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _wrong(message: str) -> Refusal:
    return Refusal(422, message, (message,))


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace references into `$defs` by what they name, so that the schema stands alone in an OpenAPI document."""
    parts = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(parts[node["$ref"].rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(each) for each in node] if isinstance(node, list) else node

    found: dict[str, Any] = json.loads(json.dumps(resolved(schema)))
    return found
