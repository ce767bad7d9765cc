"""Chat completions by a tiny decoder with a chat template: whole and streamed, told apart from what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.serve.keys import read_keys
from harness.serve.loaded import Loaded
from harness.serve.loading import load_one
from harness.serve.settings import Settings
from tests.helpers.writing_studies import overrides
from tests.serve.conftest import Running, Serve
from tests.serve.test_app import Slow, _until

PATH = "/v1/chat/completions"
TALK = [{"role": "user", "content": "coffee near the river"}]
ASKED = {"model": "w", "messages": TALK}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Loaded:
    """A saved decoder that was asked conversations in training."""
    from harness.cli import main as app

    home = tmp_path_factory.mktemp("chat")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        given = [*overrides(home), "task.chat=true", "method=zero_shot", f"cache_dir={cache}"]
        patch.setattr(sys, "argv", ["harness", *given])
        with pytest.raises(SystemExit) as ended:
            app.main()
            raise SystemExit(0)
        assert not ended.value.code
    [folder] = home.glob("runs/single/runs/*/*/model")
    return load_one(folder, "cpu", cache, "torch")


def pieces(running: Running, body: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The joined text of a streamed answer, and its events."""
    with running.client.stream("POST", PATH, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(each["choices"][0]["delta"].get("content", "") for each in events if each["choices"])
    return text, events


def test_whole_and_streamed_are_the_same(serve: Serve, writer: Loaded) -> None:
    """Greedy, drawn, and cut by a stop string; what /predict answers, and the numbers of tokens of the template."""
    tokenizer: Any = writer.predictor.tokenizer  # type: ignore[attr-defined]
    read = len(tokenizer.apply_chat_template(TALK, add_generation_prompt=True, return_dict=True)["input_ids"])
    with serve({"w": writer}) as running:
        plain = running.post(PATH, ASKED).json()
        predicted = running.post("/predict", {"messages": TALK}).json()["predictions"][0]["prediction"]
        assert plain["choices"][0]["message"]["content"] == predicted and plain["object"] == "chat.completion"
        assert plain["usage"]["prompt_tokens"] == read and plain["usage"]["completion_tokens"] <= 4
        long = ASKED | {"max_tokens": 40}
        text = running.post(PATH, long).json()["choices"][0]["message"]["content"]
        assert len(text) > 10
        stop = text[6:9]
        for body in (ASKED, long, long | {"temperature": 1.0, "seed": 3}, long | {"stop": [stop, "never"]}):
            whole = running.post(PATH, body).json()
            streamed, events = pieces(running, body | {"stream_options": {"include_usage": True}})
            (choice,) = whole["choices"]
            assert streamed == choice["message"]["content"]
            assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
            assert events[-1]["usage"] == whole["usage"] and events[-1]["choices"] == []
            assert events[-2]["choices"][0]["finish_reason"] == choice["finish_reason"] in ("stop", "length")
            assert {each["system_fingerprint"] for each in events} == {writer.digest}
            total = whole["usage"]["prompt_tokens"] + whole["usage"]["completion_tokens"]
            assert whole["usage"]["total_tokens"] == total
        assert choice["finish_reason"] == "stop" and streamed == text[: text.index(stop)]
        assert len(pieces(running, long)[1]) > 5  # piece by piece
        parts = ASKED | {"messages": [{"role": "user", "content": [{"type": "text", "text": TALK[0]["content"]}]}]}
        assert running.post(PATH, parts).json()["choices"] == plain["choices"]
        assert "usage" not in pieces(running, ASKED)[1][-1]
        metrics = running.client.get("/metrics").text
        assert 'harness_tokens_total{kind="completion",model="w"}' in metrics
        assert f'path="{PATH}"' in metrics


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no such model": ({"model": "gpt"}, 404, "No model 'gpt'"),
    "nothing said": ({"messages": []}, 400, "messages"),
    "not the user's turn": ({"messages": [*TALK, {"role": "assistant", "content": "a"}]}, 400, "role user"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400, "a text"),
    "blank": ({"messages": [{"role": "user", "content": " "}]}, 400, "blank"),
    "two answers": ({"n": 2}, 400, "this service knows 1 only"),
    "nucleus": ({"top_p": 0.5}, 400, "top_p"),
    "tools": ({"tools": []}, 400, "there is no such field; known: model, messages"),
    "a name": ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, 400, "known: role, content"),
    "too hot": ({"temperature": 3}, 400, "temperature"),
    "too cold to divide by": ({"temperature": 1e-30}, 400, "or 0.0001 or more"),
    "no tokens": ({"max_tokens": 0}, 400, "max_tokens"),
    "twice": ({"max_tokens": 4, "max_completion_tokens": 4}, 400, "give one of them"),
    "no room": ({"max_tokens": 10_000}, 400, "lower max_tokens"),
    "no room, streamed": ({"max_tokens": 10_000, "stream": True}, 400, "lower max_tokens"),
    "five stops": ({"stop": ["a"] * 5}, 400, "stop"),
    "an empty stop": ({"stop": ""}, 400, "stop"),
}


def test_errors_have_the_shape_of_the_api(serve: Serve, writer: Loaded, loaded: Loaded, tmp_path: Path) -> None:
    """Also of keys, JSON and paths; models of classes are not listed, and answer no conversations."""
    key = "a-key-of-a-chatting-tenant"
    (tmp_path / "keys").write_text(f"shop:{key}")
    with serve({"w": writer, "classes": loaded}, keys=read_keys(tmp_path / "keys")) as running:
        running.client.headers["authorization"] = f"Bearer {key}"
        cases = [(name, json.dumps(ASKED | change).encode(), *told) for name, (change, *told) in WRONG.items()]
        cases += [
            ("no JSON", b"{", 400, "not JSON"), ("empty", b"", 400, "no body"),
            ("classes", json.dumps(ASKED | {"model": "classes"}).encode(), 404, "No model 'classes'"),
        ]  # fmt: skip
        for name, body, status, message in cases:
            answer = running.client.post(PATH, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == status, (name, answer.text)
            error = answer.json()["error"]
            assert message in error["message"] and error["type"] == "invalid_request_error", (name, error)
            assert set(error) == {"message", "type", "param", "code"}
        marked = b"\xef\xbb\xbf" + json.dumps(ASKED | {"model": "classes"}).encode()
        told = running.client.post(PATH, content=marked, headers={"content-type": "application/json"}).text
        assert "No model 'classes'" in told  # the mark is no fault
        listed = running.client.get("/v1/models").json()
        assert listed["object"] == "list" and [each["id"] for each in listed["data"]] == ["w"]
        assert running.client.get("/v1/models/w").json()["object"] == "model"
        assert running.client.get("/v1/models/x").json()["error"]["code"] == "model_not_found"
        assert running.client.get("/v1/nowhere").json()["error"]["message"].startswith("There is no such path")
        assert PATH in running.client.get("/openapi.json").json()["paths"]
        refused = running.post(PATH, ASKED, headers={"authorization": "Bearer wrong"})
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
    with serve({"classes": loaded}) as running:
        assert running.post(PATH, ASKED).status_code == 404


def test_full_queue_and_time(serve: Serve, writer: Loaded) -> None:
    """Conversations wait for one another; more than the queue holds, and what takes too long, is refused."""
    slow = Slow(writer.predictor)
    settings = Settings(drain=0.0, max_queue=1, max_rows=1)
    with serve({"w": replace(writer, predictor=slow)}, settings) as running, ThreadPoolExecutor(4) as pool:
        first = pool.submit(running.post, "/predict", {"prompt": "coffee"})
        assert slow.entered.wait(20)
        second = pool.submit(running.post, PATH, ASKED)  # taken, and waits for the lane
        third = None
        _until(lambda: running.service.metrics.open._value.get() == 2)
        third = pool.submit(running.post, PATH, ASKED)
        _until(lambda: running.service.chat.batchers["w"].waiting == 1)
        for body in (ASKED, ASKED | {"stream": True}):
            refused = running.post(PATH, body)
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["type"] == "rate_limit_error"
        slow.gate.set()
        assert [each.result().status_code for each in (first, second, third)] == [200, 200, 200]
    blocked = Slow(writer.predictor)
    with serve({"w": replace(writer, predictor=blocked)}, Settings(drain=0.0, timeout=0.3)) as running:
        assert running.post("/predict", {"prompt": "coffee"}).status_code == 503
        late = running.post(PATH, ASKED)
        assert late.status_code == 503 and late.json()["error"]["type"] == "server_error"
        blocked.gate.set()
        _until(lambda: running.post(PATH, ASKED).status_code == 200)


@pytest.fixture
def client(serve: Serve, writer: Loaded) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with serve({"w": writer}) as running:
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="any-key-will-do", max_retries=0)


def test_clients_of_the_api(client: Any) -> None:
    """The package openai lists, asks and streams, and knows the errors."""
    import openai

    assert [each.id for each in client.models.list()] == ["w"]
    whole = client.chat.completions.create(model="w", messages=TALK, max_tokens=20)
    stream = client.chat.completions.create(model="w", messages=TALK, max_tokens=20, stream=True)
    text = "".join(each.choices[0].delta.content or "" for each in stream)
    assert text == whole.choices[0].message.content and whole.usage.total_tokens > 20
    with pytest.raises(openai.NotFoundError, match="No model 'x'"):
        client.chat.completions.create(model="x", messages=TALK)
    with pytest.raises(openai.BadRequestError, match="lower max_tokens"):
        client.chat.completions.create(model="w", messages=TALK, max_tokens=9999, stream=True)
