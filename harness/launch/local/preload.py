"""The imports that the workers' fork server makes once for all of them, and for their replacements."""

import ctypes
import gc
import signal
import sys

# Ctrl-C reaches the whole process group. A study that is still waiting for these imports ends by it; so does this
# process, at once and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# A coordinator that ends meanwhile, because what was asked cannot be done, needs no workers. Later the server notices.
PR_SET_PDEATHSIG = 1  # linux/prctl.h; workers do not inherit it
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

# Imports make hundreds of thousands of objects and next to no garbage: looking for it would take part of the time.
gc.disable()

import sklearn.linear_model  # noqa: E402, F401 -- at the first probe

# transformers would import it, and torch's distributed half with it, when the first model is loaded.
import transformers.modeling_utils  # noqa: E402, F401

import harness.runs.execute  # noqa: E402, F401

# What is there now stays: no later search goes through it, and none copies the pages that workers share.
gc.freeze()
gc.enable()

# From now on the coordinator decides what it means. Workers inherit this, from their first moment.
signal.signal(signal.SIGINT, signal.SIG_IGN)
