"""Imports that the fork server makes once for all workers and their replacements."""

import ctypes
import gc
import signal
import sys

# Ctrl-C reaches the whole process group. While a study still waits for these imports, it ends the study; it must end
# this process, too, at once and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# Die with a coordinator that exits during these imports, e.g. on an invalid configuration. Later the server notices.
PR_SET_PDEATHSIG = 1  # linux/prctl.h; workers do not inherit it
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

# The imports create hundreds of thousands of objects and almost no garbage, so collections would only cost time.
gc.disable()

import sklearn.linear_model  # noqa: E402, F401 -- used by the first linear probe

# transformers imports this, and torch.distributed with it, when the first model is loaded.
import transformers.modeling_utils  # noqa: E402, F401

import harness.runs.execute  # noqa: E402, F401
from harness.models.precision.quantization import import_peft  # noqa: E402

import_peft()

# Exclude all present objects from later collections, which would copy the pages that workers share.
gc.freeze()
gc.enable()

# From now on the coordinator decides what Ctrl-C does. Workers inherit this from their start.
signal.signal(signal.SIGINT, signal.SIG_IGN)
