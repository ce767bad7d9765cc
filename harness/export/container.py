"""Dockerfile and compose file of an export."""

from __future__ import annotations

from pathlib import Path

import harness

PORT = 8000  # of the service in the container
DOCKERFILE = """\
# Serves this folder: docker compose up --build
FROM python:3.12-slim
# A released version, or a wheel that was put into this folder: --build-arg HARNESS=./harness-{version}-py3-none-any.whl
ARG HARNESS=harness=={version}
WORKDIR /srv
COPY . /srv/model
RUN cd /srv/model && pip install --no-cache-dir "${{HARNESS}}[{extras}]" \\
    && useradd --create-home service && mkdir /srv/feedback && chown service /srv/feedback
USER service
ENV PYTHONUNBUFFERED=1
EXPOSE {port}
VOLUME /srv/feedback
STOPSIGNAL SIGTERM
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
    stop_grace_period: 70s # the service answers what it has taken
    healthcheck:
      test: ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/ready')"]
      interval: 10s
      start_period: 120s
volumes:
  feedback:
"""


def write_container(directory: Path, onnx: bool) -> None:
    """Write Dockerfile, .dockerignore and compose.yaml."""
    extras = "serve,export" if onnx else "serve"
    dockerfile = DOCKERFILE.format(version=harness.__version__, extras=extras, port=PORT)
    (directory / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (directory / "compose.yaml").write_text(COMPOSE.format(port=PORT), encoding="utf-8")
    (directory / ".dockerignore").write_text("Dockerfile\ncompose.yaml\n.git\n", encoding="utf-8")
