"""The imports that the workers' fork server makes once for all of them, and for their replacements."""

import signal

# Ctrl-C reaches the whole process group. A study that is still waiting for these imports ends by it; so does this
# process, at once and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import sklearn.linear_model  # noqa: E402, F401 -- at the first probe

# transformers would import it, and torch's distributed half with it, when the first model is loaded.
import transformers.modeling_utils  # noqa: E402, F401

import harness.run  # noqa: E402, F401

# From now on the coordinator decides what it means. Workers inherit this, from their first moment.
signal.signal(signal.SIGINT, signal.SIG_IGN)
