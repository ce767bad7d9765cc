"""Requests drawn from the OpenAPI document, fitting and unfitting ones: no server error, no unlisted status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation.modes import GenerationMode

from harness.serve.loaded import Loaded
from tests.serve.conftest import Serve

EXAMPLES = 10  # of each operation and mode


def test_no_request_fails_the_server(serve: Serve, loaded: Loaded, tmp_path: Path) -> None:
    """Every operation, with bodies that fit its schema and bodies that do not."""
    seen: dict[str, set[int]] = {}
    with serve({"m": loaded}) as running:
        address = f"http://127.0.0.1:{running.port}"
        schema: Any = schemathesis.openapi.from_url(f"{address}/openapi.json")
        assert schema.raw_schema["paths"].keys() >= {
            "/predict",
            "/feedback",
            "/models/m/predict",
            "/health",
            "/metrics",
        }
        for result in schema.get_all_operations():
            operation = result.ok()
            posts = operation.method.upper() == "POST"
            if operation.path.startswith("/models/m"):
                continue  # the same code as the paths without a name
            for mode in GenerationMode if posts else (GenerationMode.POSITIVE,):

                @given(case=operation.as_strategy(generation_mode=mode))
                @settings(
                    max_examples=EXAMPLES if posts else 1, deadline=None, database=None, derandomize=True,
                    phases=[Phase.generate], suppress_health_check=list(HealthCheck),
                )  # fmt: skip
                def ask(case: Any) -> None:
                    answer = case.call(base_url=address)
                    assert answer.status_code < 500, (case.method, case.path, case.body, answer.text)  # called at once
                    seen.setdefault(case.path, set()).add(answer.status_code)

                ask()
    assert 200 in seen["/predict"] and 422 in seen["/predict"] and 201 in seen["/feedback"], seen
    assert all(statuses <= {200, 201, 400, 401, 405, 408, 413, 415, 422, 429, 503} for statuses in seen.values()), seen
