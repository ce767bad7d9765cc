"""The Dockerfile and the compose file of an export have what good ones have, and commands that there are."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

import harness
from harness.export.container import PORT, write_container
from harness.serve.__main__ import _parser


@pytest.mark.parametrize("offline", [True, False])
def test_container_files(offline: bool, tmp_path: Path) -> None:
    """Pinned base, a wheel that is looked for, another user than root, a health check, arguments that are known."""
    write_container(tmp_path, ["serve", "speech"], offline)
    text = (tmp_path / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    steps: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            steps.setdefault(word, []).append(rest)
    assert set(steps) <= {
        "FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK",
        "ENTRYPOINT",
    }  # fmt: skip
    assert re.fullmatch(r"python:3\.\d+-slim", steps["FROM"][0])
    assert steps["ARG"] == [f"HARNESS=harness-{harness.__version__}-py3-none-any.whl"]
    assert steps["USER"] == ["service"] and text.index("useradd") < text.index("USER") < text.index("ENTRYPOINT")
    assert ("HF_HUB_OFFLINE=1" in steps["ENV"][0]) == offline
    assert steps["EXPOSE"] == [str(PORT)] and f"127.0.0.1:{PORT}/ready" in steps["HEALTHCHECK"][0]
    health = json.loads(steps["HEALTHCHECK"][0].partition("CMD ")[2])
    compile(health[2], "health", "exec")
    assert "[serve,speech]" in steps["RUN"][1] and "--no-cache-dir" in steps["RUN"][1]
    assert not re.search(r"pip install[^&]*harness==", text)  # the name on the index is another project's
    for run in steps["RUN"]:
        shlex.split(run)  # quotes are closed
    program, command, *arguments = json.loads(steps["ENTRYPOINT"][0])
    assert (program, command) == ("harness", "serve")
    options = _parser().parse_args(arguments)
    assert (options.model, options.host, options.port) == ("/srv/model", "0.0.0.0", PORT)  # in the container
    assert str(options.feedback) in steps["VOLUME"][0].split()
    service = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]["model"]
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"] and service["build"] == "."
    assert service["volumes"] == ["feedback:/srv/feedback"]
    assert int(service["stop_grace_period"].removesuffix("s")) > options.stop_timeout + options.drain
