"""The imports that the workers' fork server makes once for all of them, and for their replacements."""

import harness.run  # noqa: F401
