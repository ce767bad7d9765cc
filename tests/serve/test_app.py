"""A service answers as the model does, refuses what is wrong in one sentence, and is not disturbed by it."""

from __future__ import annotations

import json
import re
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.records.run_spec import RunSpec
from harness.serve.keys import read_keys
from harness.serve.loaded import Loaded
from harness.serve.settings import Settings
from harness.serving.confidence.stored import VALIDATION, Confidence, Part
from harness.serving.predict import load
from tests.serve.conftest import Serve

TEXT = {"text": "my parcel is late"}
JSON = {"content-type": "application/json"}


def test_answers_are_the_models(serve: Serve, loaded: Loaded, probe: RunSpec, cache: Path) -> None:
    """One row or many, of one model or several: label and probabilities as `harness.predict` gives them."""
    texts = ["my parcel is late", "I forgot my password", "where is my money", "\U0001f4e6 \x00 日本"]
    expected = load(probe.paths.model, "cpu", cache).probabilities(texts)
    with serve({"first": loaded, "second": loaded}) as running:
        for path in ("/predict", "/models/first/predict", "/models/second/predict"):
            answer = running.post(path, {"texts": texts})
            assert answer.status_code == 200
            found = answer.json()["predictions"]
            rows = [[each["probabilities"][label] for label in loaded.labels] for each in found]
            np.testing.assert_allclose(rows, expected, atol=1e-5)
            assert [each["prediction"] for each in found] == [loaded.labels[i] for i in expected.argmax(axis=1)]
        one = running.post("/predict", {"text": texts[1], "top": 2}).json()["predictions"]
        assert len(one) == 1 and list(one[0]["probabilities"]) == [
            loaded.labels[place] for place in np.argsort(-expected[1])[:2]
        ]
        names = [each["name"] for each in running.client.get("/models").json()["models"]]
        assert names == ["first", "second"]


def test_requests_share_batches(serve: Serve, loaded: Loaded) -> None:
    """Many clients at once: everyone gets the own answer, and batches hold several requests."""
    texts = [f"my parcel {number} is late" + " again" * (number % 5) for number in range(40)]
    with serve({"m": loaded}, Settings(drain=0.0, max_wait_ms=20)) as running:
        alone = [running.post("/predict", {"text": text}).json() for text in texts]
        before = _metric(running.client.get("/metrics").text, 'harness_batch_rows_count{model="m"}')
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda text: running.post("/predict", {"text": text}).json(), texts))
        after = _metric(running.client.get("/metrics").text, 'harness_batch_rows_count{model="m"}')
    for one, other in zip(alone, together, strict=True):
        (first,), (second,) = one["predictions"], other["predictions"]
        assert first["prediction"] == second["prediction"]
        assert first["probabilities"] == pytest.approx(second["probabilities"], abs=1e-4)
    assert before == 40 and after - before < 30


BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty body": (b"", JSON, 400, "no body"),
    "not JSON": (b"text=hello", JSON, 400, "not JSON"),
    "cut JSON": (b'{"text": "a', JSON, 400, "not JSON"),
    "not UTF-8": (b'{"text": "f\xfcr"}', JSON, 400, "byte 11 is not part of a character"),
    "UTF-16": ('{"text": "a"}'.encode("utf-16"), JSON, 400, "not UTF-8"),
    "nested too deep": (b"[" * 100_000, JSON, 400, "not JSON"),
    "deep in a field": (b'{"text":' + b"[" * 50_000 + b"]" * 50_000 + b"}", JSON, 400, "not JSON"),
    "a list": (b'["a"]', JSON, 422, "does not fit"),
    "null": (b"null", JSON, 422, "does not fit"),
    "unknown field": (b'{"text": "a", "txet": "b"}', JSON, 422, "txet"),
    "no text": (b"{}", JSON, 422, "either text or texts"),
    "both": (b'{"text": "a", "texts": ["b"]}', JSON, 422, "either text or texts"),
    "a number": (b'{"text": 5}', JSON, 422, "text: Input should be a valid string"),
    "huge number": (b'{"text": ' + b"9" * 5000 + b"}", JSON, 400, "out of range"),
    "null in a list": (b'{"texts": ["a", null]}', JSON, 422, "texts.1"),
    "nothing to do": (b'{"texts": []}', JSON, 422, "texts"),
    "empty text": (b'{"text": ""}', JSON, 422, "text"),
    "blank text": (b'{"texts": ["a", " \\n\\t"]}', JSON, 422, "texts.1"),
    "too many": (json.dumps({"texts": ["a"] * 300}).encode(), JSON, 422, "texts"),
    "too long": (json.dumps({"text": "a" * 20_001}).encode(), JSON, 422, "text"),
    "half a surrogate": (rb'{"text": "\ud800x"}', JSON, 400, "not JSON"),
    "top of 0": (b'{"text": "a", "top": 0}', JSON, 422, "top"),
    "top is true": (b'{"text": "a", "top": true}', JSON, 422, "top"),
    "second text": (b'{"text": "a", "pair": "b"}', JSON, 422, "pair"),
    "other type": (b'{"text": "a"}', {"content-type": "text/plain"}, 415, "Content-Type: application/json"),
    "a form": (b"text=a", {"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    "compressed": (b"\x1f\x8b", {**JSON, "content-encoding": "gzip"}, 415, "compressed"),
    "huge": (b'{"text": "' + b"a" * 3_000_000 + b'"}', JSON, 413, "smaller requests"),
}


def test_bad_input_is_told(serve: Serve, loaded: Loaded) -> None:
    """Each mistake gets a 4xx and a sentence; a good request beside it gets its answer, and nothing else is said."""
    with serve({"m": loaded}) as running:
        for name, (body, headers, status, message) in BAD.items():
            answer = running.client.post("/predict", content=body, headers=headers)
            assert (answer.status_code, message in answer.text) == (status, True), (name, answer.text[:300])
            assert set(answer.json()) <= {"error", "problems"} and "Traceback" not in answer.text, name
            assert len(answer.content) < 2000, name
            assert running.post("/predict", TEXT).status_code == 200, name
        assert running.client.get("/predict").status_code == 405
        assert running.client.get("/nowhere").json()["error"].startswith("There is no such path")
        assert running.client.get("/models/x/../../etc/passwd").status_code == 404
        assert "5" not in {line[0] for line in _statuses(running.client.get("/metrics").text)}


def test_raw_connections_disturb_nobody(serve: Serve, loaded: Loaded) -> None:
    """Slow heads and bodies are closed in time, a half-closed client gets its answer, nonsense a 400."""
    body = json.dumps(TEXT).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    settings = Settings(drain=0.0, timeout=1.0, header_timeout=0.5)
    with serve({"m": loaded}, settings) as running:

        def ask(content: bytes, shut: bool = False) -> bytes:
            with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
                client.sendall(content)
                if shut:
                    client.shutdown(socket.SHUT_WR)
                found = b""
                while part := client.recv(65536):
                    found += part
                    if b"predictions" in found and not shut:
                        break
                return found

        assert ask(b"POST /predict HT").startswith(b"HTTP/1.1 408")
        assert ask(b"").startswith(b"HTTP/1.1 408")
        assert ask(head % 500 + body).startswith(b"HTTP/1.1 408")
        assert b"predictions" in ask(head % len(body) + body)
        assert b"predictions" in ask(head % len(body) + body, shut=True)
        assert ask(b"\x16\x03\x01\x02\x00\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert ask(head.replace(b"%d", b"-5") + body).startswith(b"HTTP/1.1 400")
        with suppress(ConnectionResetError):  # what it sent after the answer is not read
            assert ask(b"GET /" + b"a" * 200_000).startswith(b"HTTP/1.1 400")
        for _ in range(20):  # clients that leave
            with socket.create_connection(("127.0.0.1", running.port)) as client:
                client.sendall(head % len(body) + body)
        assert running.post("/predict", TEXT).status_code == 200
        assert "5" not in {line[0] for line in _statuses(running.client.get("/metrics").text)}


@dataclass
class Slow:
    """A predictor that waits, or fails for some texts, around a real one."""

    inner: Any
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def predictions(self, texts: list[str], pairs: list[str] | None = None) -> Any:
        self.entered.set()
        self.gate.wait(20)
        if any("boom" in text for text in texts):
            raise RuntimeError("secret text")
        if any("unfit" in text for text in texts):
            raise HarnessError("These rows do not fit.")
        return self.inner.predictions(texts, pairs)


def test_full_queue_refuses_and_failures_stay_alone(
    serve: Serve, loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    """A full queue answers 429 with Retry-After; a row that fails the model fails its own request only."""
    slow = Slow(loaded.predictor)
    settings = Settings(drain=0.0, max_queue=4, max_rows=4, max_batch=4)
    with serve({"m": replace(loaded, predictor=slow)}, settings) as running, ThreadPoolExecutor(8) as pool:
        first = pool.submit(running.post, "/predict", TEXT)
        assert slow.entered.wait(20)  # a request counts as open before it is in the queue
        texts = ["a good one", "boom", "unfit", "another"]
        waiting = [pool.submit(running.post, "/predict", {"text": text}) for text in texts]
        _until(lambda: running.service.batchers["m"].waiting == 4)
        refused = running.post("/predict", TEXT)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        slow.gate.set()
        assert first.result().status_code == 200
        answers = [each.result() for each in waiting]
        assert [each.status_code for each in answers] == [200, 500, 422, 200]
        assert answers[2].json()["error"] == "These rows do not fit."
        number = re.search(r"its log has ([0-9a-f]{12})", answers[1].json()["error"])
        assert number and number[1] in caplog.text
        assert "secret" not in answers[1].text and "Traceback" not in answers[1].text
        assert "secret" not in caplog.text and "boom" not in caplog.text and "RuntimeError" in caplog.text


def test_no_answer_in_time(serve: Serve, loaded: Loaded) -> None:
    """A request that takes too long is answered with 503, and the service goes on."""
    slow = Slow(loaded.predictor)
    with serve({"m": replace(loaded, predictor=slow)}, Settings(drain=0.0, timeout=0.3)) as running:
        assert running.post("/predict", TEXT).status_code == 503
        slow.gate.set()
        assert running.post("/predict", TEXT).status_code == 200


def test_stopping_answers_what_was_taken(serve: Serve, loaded: Loaded) -> None:
    """Asked to stop with requests in its queue, the service answers them all and says that it closes."""
    slow = Slow(loaded.predictor)
    with serve({"m": replace(loaded, predictor=slow)}, Settings(drain=0.3)) as running, ThreadPoolExecutor(8) as pool:
        taken = [pool.submit(running.post, "/predict", TEXT) for _ in range(6)]
        _until(lambda: running.service.metrics.open._value.get() == 6)
        running.service.drain()
        assert running.client.get("/ready").status_code == 503
        running.server.should_exit = True
        slow.gate.set()
        answers = [each.result() for each in taken]
        assert {each.status_code for each in answers} == {200}
        assert {each.headers.get("connection") for each in answers} == {"close"}


def test_keys_and_feedback_of_tenants(
    serve: Serve, loaded: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a known key nothing is answered; each tenant's feedback is in a private file of its own."""
    one, two = "key-of-the-first-tenant", "key-of-the-second-tenant"
    (tmp_path / "keys").write_text(f"# keys\nshop:{one}\n\nbank: {two}\n")
    right = {"text": "where is it", "label": "delivery", "predicted": "refund"}
    bodies = [("/predict", TEXT), ("/feedback", right)]
    with serve({"m": loaded}, keys=read_keys(tmp_path / "keys")) as running:
        assert running.client.get("/health").status_code == 200
        unknown = [{"x-api-key": one[:-1]}, {"authorization": "Bearer"}, {"authorization": f"Basic {one}"}]
        for headers in ({}, *unknown):
            calls = [running.post(path, content, headers=headers) for path, content in bodies]
            calls += [running.client.get(path, headers=headers) for path in ("/metrics", "/models")]
            for call in calls:
                assert call.status_code == 401 and call.headers["www-authenticate"] == "Bearer"
        weird = {"x-api-key": b"\xff\xfe"}
        assert running.client.get("/metrics", headers=weird).status_code == 401
        assert running.post("/predict", TEXT, headers={"x-api-key": one}).status_code == 200
        assert running.post("/feedback", right, headers={"authorization": f"Bearer {one}"}).status_code == 201
        other = {**right, "text": "and this"}
        assert running.post("/feedback", other, headers={"authorization": f"bearer {two}"}).status_code == 201
        for wrong in ({**right, "label": "nothing"}, {"label": "delivery"}, {**right, "more": 1}, {"text": "a"}):
            assert running.post("/feedback", wrong, headers={"x-api-key": one}).status_code == 422
        security = running.client.get("/openapi.json").json()
        assert security["paths"]["/predict"]["post"]["security"] and one not in json.dumps(security)
    files = {path.stem: path for path in (tmp_path / "feedback" / "m").iterdir()}
    assert set(files) == {"shop", "bank"}
    (row,) = map(json.loads, files["shop"].read_text().splitlines())
    assert (row["text"], row["label"], row["predicted"]) == ("where is it", "delivery", "refund")
    assert "and this" not in files["shop"].read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert one not in caplog.text and one not in "".join(path.read_text() for path in files.values())


def test_wrong_keys_are_told_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of keys that is none is refused; what it holds is not repeated."""
    secret = "sesame-sesame-sesame"
    cases = {
        secret: "no colon",
        f"a b:{secret}": "a tenant's name",
        "shop:short": "16 or more",
        f"shop:{secret}\nbank:{secret}": "the same key",
        "# nothing\n": "has no key",
    }
    for content, message in cases.items():
        (tmp_path / "keys").write_text(content)
        with pytest.raises(HarnessError, match=message) as error:
            read_keys(tmp_path / "keys")
        assert secret not in str(error.value)
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "keys", tmp_path / "none", tmp_path):
        with pytest.raises(HarnessError, match="cannot be read"):
            read_keys(path)
    monkeypatch.setenv("HARNESS_API_KEYS", f"shop:{secret}, bank:{secret}2")
    assert read_keys(None).tenant({"x-api-key": f"{secret}2"}) == "bank"
    assert secret not in repr(read_keys(None))


@dataclass(frozen=True)
class Knowing:
    """A predictor with another knowledge of its reliability, around a real one."""

    inner: Any
    confidence: Confidence

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def knowing(loaded: Loaded, least: float) -> Any:
    """A model whose validation rows are right from a confidence on, and which is never sure of new rows."""
    sure = np.linspace(0, 1, 400)
    return Knowing(loaded.predictor, Confidence(100.0, {VALIDATION: Part(sure, sure >= least)}))


def test_thresholds_are_those_of_the_model_that_answers(serve: Serve, loaded: Loaded) -> None:
    """A request that waits while a model is swapped is judged by the rule of the new one, which computes it."""
    slow, new = Slow(knowing(loaded, 0.9)), knowing(loaded, 0.0)
    with serve({"m": replace(loaded, predictor=slow)}) as running, ThreadPoolExecutor(2) as pool:
        first = pool.submit(running.post, "/predict", TEXT)
        assert slow.entered.wait(20)
        waiting = pool.submit(running.post, "/predict", TEXT | {"precision": 0.4})
        _until(lambda: running.service.batchers["m"].waiting == 1)
        running.service.swap("m", replace(loaded, predictor=new))
        slow.gate.set()
        assert first.result().status_code == 200
        (answer,) = waiting.result().json()["predictions"]
        assert answer["abstained"] is False and answer["prediction"] is not None
        unsure = knowing(loaded, 0.9)
        running.service.swap("m", replace(loaded, predictor=unsure))
        (answer,) = running.post("/predict", TEXT | {"precision": 0.4}).json()["predictions"]
        assert answer["abstained"] is True and answer["reason"].startswith("unsure")


def test_explanations_need_three_rows(serve: Serve, loaded: Loaded) -> None:
    """The text, and it without a word; fewer are refused in a sentence, and as many are enough."""
    for rows, status in ((1, 422), (2, 422), (3, 200)):
        with serve({"m": loaded}, Settings(drain=0.0, max_rows=rows)) as running:
            answer = running.post("/explain", TEXT)
            assert answer.status_code == status
            if status == 422:
                assert "--max-rows below 3" in answer.json()["error"]
            else:
                assert 1 <= len(answer.json()["words"]) <= 2


def _metric(text: str, name: str) -> float:
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))


def _statuses(text: str) -> set[str]:
    return {
        line.partition('status="')[2][:3] for line in text.splitlines() if line.startswith("harness_requests_total")
    }


def _until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
