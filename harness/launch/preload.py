"""The imports that the workers' fork server makes once for all of them, and for their replacements."""

import sklearn.linear_model  # noqa: F401 -- at the first probe

# transformers would import it, and torch's distributed half with it, when the first model is loaded.
import transformers.modeling_utils  # noqa: F401

import harness.run  # noqa: F401
