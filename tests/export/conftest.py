"""The service of tests/serve."""

from tests.serve.conftest import serve

__all__ = ["serve"]
