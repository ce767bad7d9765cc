"""A hub on this machine: what huggingface_hub asks of the API of models when a folder is uploaded, in memory."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What a hub was sent.

    Attributes:
        address: of its server.
        token: that it knows.
        user: what it says of the token's owner.
        created: bodies of requests to create a repository.
        private: whether each repository is, by name.
        files: by path in the repository, with their content.
        large: contents that were sent apart (Git LFS), by SHA-256.
        fails: status that commits are answered with; 0: they are taken.
    """

    address: str = ""
    token: str = "hf_known"  # of this server only
    user: dict[str, Any] = field(
        default_factory=lambda: {"name": "someone", "type": "user", "orgs": [{"name": "shop"}]}
    )
    created: list[dict[str, Any]] = field(default_factory=list)
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    fails: int = 0


@contextmanager
def local_hub() -> Iterator[Hub]:
    """Serve a hub on a free port."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, content: Any, status: int = 200, code: str = "") -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def known(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {hub.token}":
                return True
            self.answer({"error": "Invalid credentials"}, 401)
            return False

        def do_GET(self) -> None:
            if not self.known():
                return
            name = self.path.removeprefix("/api/models/").partition("?")[0]
            if self.path == "/api/whoami-v2":
                self.answer(hub.user)
            elif name in hub.private:
                self.answer({"id": name, "private": hub.private[name], "sha": "0" * 40, "siblings": []})
            else:
                self.answer({"error": "Repository not found"}, 404, "RepoNotFound")

        def do_PUT(self) -> None:
            hub.large[self.path.rpartition("/")[2]] = self.body()
            self.answer({})

        def do_POST(self) -> None:
            content = self.body()
            if not self.known():
                return
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(content))
                name = f"{hub.created[-1].get('organization', 'someone')}/{hub.created[-1]['name']}"
                hub.private[name] = hub.created[-1].get("visibility") == "private"
                self.answer({"url": f"{hub.address}/{name}"})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                named = [each["path"] for each in json.loads(content)["files"]]
                modes = ("regular", "lfs")
                self.answer(
                    {
                        "files": [
                            {"path": name, "uploadMode": modes[name.endswith(".safetensors")], "shouldIgnore": False}
                            for name in named
                        ]
                    }
                )
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    each | {"actions": {"upload": {"href": f"{hub.address}/lfs/{each['oid']}"}}}
                    for each in json.loads(content)["objects"]
                ]
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path and hub.fails:
                self.answer({"error": "no room"}, hub.fails)
            elif "/commit/" in self.path:
                for line in map(json.loads, content.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        hub.files[value["path"]] = hub.large[value["oid"]]
                repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
                self.answer(
                    {"commitUrl": f"{hub.address}/{repository}/commit/1", "commitOid": "1" * 40, "success": True}
                )
            else:
                self.answer({"error": f"unknown: {self.path}"}, 404)

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
