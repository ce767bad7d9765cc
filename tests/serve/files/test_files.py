"""Images and sounds as input: forms and base64, one and many; what is none, too large or cut short is told."""

from __future__ import annotations

import base64
import functools
import io
import json
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser

from harness.serve.files.samples import sample
from harness.serve.loading import load_one
from harness.serve.settings import Settings
from harness.serving.predict import load
from tests.helpers.tiny_families import saved
from tests.serve.conftest import Serve


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Callable[[str], tuple[Path, Path]]:
    """The folder of a family's files, and the model of a run on them; made once."""

    @functools.cache
    def made(kind: str) -> tuple[Path, Path]:
        home = tmp_path_factory.mktemp(kind)
        return home, saved(kind, "linear_probe", home, cache)

    return made


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.full((int(seconds * rate), channels), 0.1), rate, format="WAV")
    return content.getvalue()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 90_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "field", "suffix"), [("image_classification", "image", ".png"), ("audio_classification", "sound", ".wav")]
)
def test_answers_are_those_for_the_files(
    kind: str, field: str, suffix: str, trained: Callable[[str], tuple[Path, Path]], tmp_path: Path, cache: Path,
    serve: Serve,
) -> None:  # fmt: skip
    """One or many, as a form or as base64: what `harness.predict` gives for the paths; feedback keeps the file."""
    home, place = trained(kind)
    paths = sorted(home.glob(f"[ct]*/*/*{suffix}"))[::9][:3]
    expected = load(place, "cpu", cache).probabilities([str(each) for each in paths])
    loaded, contents = load_one(place, "cpu", cache, "torch"), [each.read_bytes() for each in paths]
    with serve({"m": loaded}, Settings(drain=0.0, max_rows=4, max_pixels=1_000_000, max_seconds=3)) as running:
        ask = running.client.post
        forms = [[(name, (p.name, p.read_bytes())) for p in paths] for name in (f"{field}s", field)]
        answers = [ask("/predict", json={f"{field}s": [encoded(each) for each in contents]})]
        answers += [ask("/predict", files=form) for form in forms]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            rows = [[each["probabilities"][label] for label in loaded.labels] for each in answer.json()["predictions"]]
            np.testing.assert_allclose(rows, expected, atol=1e-5)
        url = f"data:application/octet-stream;base64,{encoded(contents[0])}"
        for answer in (
            ask("/predict", json={field: url, "top": 1}),
            ask("/predict", files={field: contents[0]}, data={"top": "1"}),
        ):
            (row,) = answer.json()["predictions"]
            assert row["probabilities"] == {row["prediction"]: pytest.approx(expected[0].max(), abs=1e-5)}
        right = loaded.labels[0]
        stored = running.post("/feedback", {field: encoded(contents[0]), "label": right})
        assert stored.status_code == 201, stored.text
        said = {"label": right, "predicted": right, "digest": loaded.digest}
        assert ask("/feedback", files={field: contents[0]}, data=said).status_code == 201
        for wrong, message in (({"label": "x"}, "none of"), ({}, "label"), ({"label": right, "tpo": "1"}, "tpo")):
            refused = ask("/feedback", files={field: contents[0]}, data=wrong)
            assert refused.status_code == 422, (message, refused.text)
        _refusals(ask, field, contents[0])
        paths_of = running.client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        assert paths_of["multipart/form-data"]["schema"]["properties"][field]["format"] == "binary"
        assert ask("/predict", json=paths_of["application/json"]["example"]).status_code == 200
        described = running.client.get("/models").json()["models"][0]
        assert described["inputs"] == field and not described["explains"]
        assert running.service.uploads.held == 0
        running.service.uploads.held = held = 8 * running.service.settings.max_upload
        busy = ask("/predict", files={field: contents[0]})
        assert busy.status_code == 429 and busy.headers["retry-after"] == "1"
        assert running.service.uploads.held == held
    file = tmp_path / "feedback" / "m" / "local.jsonl"
    row, formed = map(json.loads, file.read_text().splitlines())
    assert (formed["predicted"], formed["digest"]) == (right, loaded.digest)
    assert (file.parent / formed[field]).read_bytes() == contents[0]
    kept = file.parent / row[field]
    assert kept.read_bytes() == contents[0] and kept.suffix == suffix and row["label"] == right
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def _refusals(ask: Any, field: str, good: bytes) -> None:
    """Each mistake is told in a 4xx that says what to do; a good request beside it is answered."""
    form = {"content-type": "multipart/form-data; boundary=x"}
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="f"\r\n\r\n'.encode()
    cases: list[tuple[Any, int, str]] = [
        ({"files": {field: b"no file of this kind"}}, 422, "File 1: "),
        ({"files": {field: good[: len(good) // 2]}}, 422, "truncated"),
        ({"files": {field: b""}}, 422, field),
        ({"json": {field: "not base64!"}}, 422, "base64 -w0 FILE"),
        ({"json": {field: 5}}, 422, field),
        ({"json": {}}, 422, f"either {field} or {field}s"),
        ({"json": {"text": "a"}}, 422, f"known: {field}"),
        ({"json": {field: "/etc/passwd"}}, 422, field),  # no path of the server is ever read
        ({"json": {f"{field}s": [encoded(good)] * 5}}, 422, f"{field}s"),
        ({"files": [(field, good)] * 12}, 422, "several smaller requests"),
        ({"files": {field: good}, "data": {"top": "many"}}, 422, "top"),
        ({"files": {field: good}, "data": {"tpo": "1"}}, 422, "tpo"),
        ({"files": {field: good}, "headers": {"origin": "http://elsewhere.example"}}, 403, "another site"),
        ({"content": head + good, "headers": form}, 400, "cut short"),
        ({"content": b"--x\r\n\r\nx\r\n--x--", "headers": form}, 400, "no name"),
        ({"content": b"--x\r\nx\r\n--x--", "headers": form}, 400, "head"),
        ({"content": good, "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": good, "headers": {"content-type": "image/png"}}, 415, "multipart/form-data"),
        ({"files": {field: b"\0" * (33 * 2**20)}}, 413, "smaller requests"),
    ]
    if field == "image":
        cases += [
            ({"files": {field: bomb()}}, 422, "more than 1,000,000 pixels"),
            ({"files": {field: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}}, 422, "no image file"),
            ({"files": {field: sample("sound")}}, 422, "no image file"),
        ]
    else:
        cases += [
            ({"files": {field: wav(4, 8_000)}}, 422, "longer than 3 seconds"),
            ({"files": {field: sample("image")}}, 422, "no sound file"),
        ]
    for asked, status, message in cases:
        answer = ask("/predict", **asked)
        assert (answer.status_code, message in answer.text) == (status, True), (str(asked)[:200], answer.text[:400])
        assert "Traceback" not in answer.text and len(answer.content) < 2000
    assert ask("/predict", files={field: good}).status_code == 200


def test_page_takes_files(
    trained: Callable[[str], tuple[Path, Path]], tmp_path: Path, cache: Path, serve: Serve, browser: Browser
) -> None:
    """A dropped or chosen image is shown with its answer and probabilities, and may be told; others are refused."""
    home, place = trained("image_classification")
    path, other = next(home.glob("cells/light/*.png")), next(home.glob("cells/dark/*.png"))
    loaded = load_one(place, "cpu", cache, "torch")
    (expected,) = load(place, "cpu", cache).predict([str(path)])
    with serve({"m": loaded}) as running:
        page = browser.new_page(viewport={"width": 360, "height": 740})
        messages: list[str] = []
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("console", lambda said: messages.append(said.text) if "422" not in said.text else None)
        page.goto(f"http://127.0.0.1:{running.port}/")
        page.locator("#file").wait_for(state="visible")
        page.locator("#go").click()
        page.locator("#error").get_by_text("Choose a file first.").wait_for()
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"none"})
        page.locator("#go").click()
        page.locator("#error").get_by_text("no image file").wait_for()
        dropped = page.evaluate_handle(
            """content => { const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
            data.items.add(new File([bytes], "b.png", {type: "image/png"}));
            return data; }""",
            encoded(path.read_bytes()),
        )
        # The answer for a file that is no longer chosen is not shown under another.
        held: list[Any] = []
        page.route("**/predict", lambda route: held.append(route), times=1)  # noqa: PLW0108 # it gets an attribute
        page.set_input_files("#file", str(other))
        page.locator("#go").click()
        while not held:
            page.wait_for_timeout(20)
        with page.expect_response("**/predict"):
            page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
            held.pop().continue_()
        page.locator("#go:enabled").wait_for()
        assert not page.locator("#answer").is_visible()
        page.locator("#file-hint", has_text="b.png").wait_for()
        page.locator("#go").click()
        page.locator("#prediction", has_text=expected).wait_for()
        assert page.locator("#shares tr").count() == 2
        assert page.evaluate("document.querySelector('#seen img').naturalWidth") > 0
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not page.locator("#why").is_visible()
        page.locator("#send").click()
        page.get_by_text("Stored, thank you.").wait_for()
        page.close()
    assert not messages
    (kept,) = (tmp_path / "feedback" / "m" / "local").iterdir()
    assert kept.read_bytes() == path.read_bytes()
