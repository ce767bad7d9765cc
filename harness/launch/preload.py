"""The imports that the workers' fork server makes once for all of them: seconds that no worker and no replacement pays."""

import harness.run  # noqa: F401
