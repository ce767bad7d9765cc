"""Imports of a report. A study loads them while its workers start, instead of at its end."""

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.collections
import matplotlib.figure
import matplotlib.patches
import matplotlib.ticker  # noqa: F401
import pyarrow.compute
import pyarrow.json
import pyarrow.parquet  # noqa: F401
import scipy.interpolate
import scipy.special
import scipy.stats  # noqa: F401
