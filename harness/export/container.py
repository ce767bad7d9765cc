"""Dockerfile and compose file of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import harness

PORT = 8000  # of the service in the container
# The program comes from a wheel beside the model: the name on the package index is another project's.
DOCKERFILE = """\
# Serves this folder: docker compose up --build
# It needs the wheel of harness in this folder, made from its source: pip wheel --no-deps --wheel-dir . <source>
FROM python:3.12-slim
ARG HARNESS=harness-{version}-py3-none-any.whl
WORKDIR /srv
COPY . /srv/model
RUN if [ ! -f "/srv/model/${{HARNESS}}" ]; then \\
    echo "${{HARNESS}} is not in this folder: see the first lines of its Dockerfile" >&2; exit 1; fi
RUN pip install --no-cache-dir "/srv/model/${{HARNESS}}[{extras}]" \\
    && useradd --create-home service && mkdir /srv/feedback && chown service /srv/feedback
USER service
ENV PYTHONUNBUFFERED=1{offline}
EXPOSE {port}
VOLUME /srv/feedback
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \\
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/ready', timeout=4)"]
ENTRYPOINT ["harness", "serve", "/srv/model", "--host", "0.0.0.0", "--port", "{port}", "--feedback", "/srv/feedback"]
"""

COMPOSE = """\
services:
  model:
    build: .
    ports:
      - "127.0.0.1:{port}:{port}" # this machine only; remove the address to let others in, and set keys first
    environment:
      # tenant:key, several separated by commas; to make a key: openssl rand -hex 24
      HARNESS_API_KEYS: ${{HARNESS_API_KEYS:-}}
    volumes:
      - feedback:/srv/feedback
    restart: unless-stopped
    stop_grace_period: 70s # the service answers what it has taken
volumes:
  feedback:
"""


def write_container(directory: Path, extras: Sequence[str], offline: bool) -> None:
    """Write Dockerfile, .dockerignore and compose.yaml.

    Args:
        directory: the export.
        extras: of this program, that its model needs.
        offline: whether the folder holds all that it needs, so that nothing is asked of a hub at run time.
    """
    dockerfile = DOCKERFILE.format(
        version=harness.__version__, extras=",".join(extras), port=PORT, offline=" HF_HUB_OFFLINE=1" if offline else ""
    )
    (directory / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (directory / "compose.yaml").write_text(COMPOSE.format(port=PORT), encoding="utf-8")
    (directory / ".dockerignore").write_text("Dockerfile\ncompose.yaml\n.git\n", encoding="utf-8")
