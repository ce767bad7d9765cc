"""What the server tells of studies, while they change; and that it shows nothing else."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.records.locate import names
from harness.status.study_status import survey
from harness.ui.__main__ import main
from harness.ui.server import Server
from tests.report.conftest import Builder
from tests.ui.conftest import CELL


def events(answer: httpx.Response) -> Any:
    """The contents of a stream's events."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_studies_runs_and_logs(client: httpx.Client, runs_dir: Path) -> None:
    """The list, one study as `harness status` counts it, the runs of a cell, and a log that grows."""
    listed = client.get("/api/studies").json()["studies"]
    assert {each["name"] for each in listed} == {"first", "second <b>"} == set(names(runs_dir))
    study = client.get("/api/study", params={"study": "first"}).json()
    counted = survey(runs_dir / "first")
    assert [each["id"] for each in study["progress"]] == [cell.id for cell in counted.cells]
    assert study["failed"] == counted.runs["failed"] > 0 and study["best"]
    assert f"{CELL}/t9" in {each["run"] for each in study["failures"]}
    asked = {"study": "first", "cell": CELL}
    runs = client.get("/api/runs", params=asked).json()["runs"]
    assert {"run": "t9", "status": "failed"} in runs and len(runs) > 2
    whole = client.get("/api/log", params=asked | {"run": "t9"}).json()
    assert whole["text"] == "epoch 1\nred <script>alert(1)</script>\n" and whole["status"] == "failed"
    with (runs_dir / "first" / "runs" / CELL / "t9" / "log.txt").open("a") as file:
        file.write("more\n")
    again = client.get("/api/log", params=asked | {"run": "t9", "from": whole["next"]}).json()
    assert again["text"] == "more\n"
    assert client.get("/api/log", params=asked | {"run": "t9", "from": "-1"}).status_code == 422


def test_a_study_is_followed(client: httpx.Client, runs_dir: Path) -> None:
    """News come as events, also of a study that begins."""
    with client.stream("GET", "/api/follow", params={"study": "first"}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        news = events(answer)
        before = next(news)
        Builder(runs_dir / "first").run(CELL, "t10", trial=10, status="failed", error="again")
        assert next(news)["failed"] == before["failed"] + 1
    with client.stream("GET", "/api/follow") as answer:
        news = events(answer)
        assert len(next(news)["studies"]) == 2
        Builder(runs_dir / "third").sweep([{"id": CELL, "metric": "accuracy"}])
        assert len(next(news)["studies"]) == 3
    assert client.get("/api/follow", params={"study": "none"}).status_code == 404


def test_reports_are_written_anew(client: httpx.Client, runs_dir: Path) -> None:
    """When there are new results, else not; of two studies together. The studies keep their files as they are."""

    def kept() -> dict[Path, int]:  # any report keeps a compacted copy of the records
        found = (path for path in runs_dir.rglob("*") if path.is_file() and "records.parquet" not in path.parts)
        return {path: path.stat().st_mtime_ns for path in found}

    before = kept()
    page = client.get("/report", params={"study": "first"}, follow_redirects=True)
    assert page.status_code == 200 and "first" in page.text and page.url.path.endswith("/index.html")
    table = client.get(page.url.path.replace("index.html", "table.csv"))
    assert table.status_code == 200 and CELL.rpartition(".")[2] in table.text
    assert kept() == before
    both = client.get("/report", params={"study": ["first", "second <b>"]}, follow_redirects=True)
    assert both.status_code == 200 and both.url.path != page.url.path
    assert client.get("/report", params={"study": "first"}, follow_redirects=True).text == page.text
    Builder(runs_dir / "first").run(CELL, "t11", trial=11, status="failed", error="a new failure")
    assert client.get("/report", params={"study": "first"}, follow_redirects=True).text != page.text
    Builder(runs_dir / "empty").sweep([])
    told = client.get("/report", params={"study": "empty"}, follow_redirects=True)
    assert told.status_code in (200, 422) and "Traceback" not in told.text


def test_a_folder_with_an_odd_name_hides_no_study(client: httpx.Client, runs_dir: Path) -> None:
    """Bytes that are no UTF-8, as of another program's archive: the list shows the others all the same."""
    Builder(runs_dir / os.fsdecode(b"stu\xe9")).sweep([])
    listed = {each["name"] for each in client.get("/api/studies").json()["studies"]}
    assert listed == {"first", "second <b>", "stu?"}


def test_nothing_else_is_shown(client: httpx.Client, server: Server, tmp_path: Path) -> None:
    """Names are looked up, not joined to paths; other methods and other names of this machine are refused."""
    (tmp_path / "runs" / "link").symlink_to(tmp_path)
    ways = ("..", "../runs/first", "/etc", "first/../..", ".", "", "first\0", "%2e%2e", "runs", "x" * 5000)
    for name in ways:
        for path in ("/api/study", "/api/runs", "/api/log", "/report"):
            asked = {"study": name, "cell": CELL, "run": "t9"}
            assert client.get(path, params=asked).status_code in (404, 414), (path, name)
        for values in ({"cell": name}, {"cell": CELL, "run": name}):
            if values != {"cell": CELL, "run": ""}:
                assert client.get("/api/log", params={"study": "first", "run": "t9"} | values).status_code == 404
    key = client.get("/report", params={"study": "first"}).headers["location"].split("/")[2]
    for path in ("secret.txt", "../secret.txt", "..%2f..%2fsecret.txt", "%2e%2e/%2e%2e/secret.txt", "figures/../../x"):
        with socket.create_connection(server.server_address[:2], timeout=20) as raw:
            raw.sendall(f"GET /report/{key}/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 404"), path
        assert b"secret" not in answer.partition(b"\r\n\r\n")[2]
    assert client.get("/ui.js/../../server.py").status_code == 404 == client.get("/server.py").status_code
    assert client.post("/api/studies").status_code == 501 == client.delete("/api/study?study=first").status_code
    elsewhere = client.get("/api/studies", headers={"host": "evil.example"})
    assert elsewhere.status_code == 403 and "studies" not in elsewhere.json()
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert client.get("/api/studies", headers={"host": host}).status_code == 200
    page = client.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/ui.css").text.startswith(":root") and client.head("/").content == b""


def test_what_keeps_it_from_starting_is_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port in use, a host that is none, a file for the directory."""
    (tmp_path / "file").write_text("")
    port = str(server.server_address[1])
    cases = [
        (["--port", port], "in use"), (["--port", "99999"], "cannot be taken"),
        (["--host", "no.such.host.invalid"], "cannot be taken"), (["--runs-dir", str(tmp_path / "file")], "is a file"),
    ]  # fmt: skip
    for arguments, message in cases:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err, arguments
