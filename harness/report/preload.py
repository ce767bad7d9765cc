"""What a report imports when it is first made. A study imports it while its workers begin, not when all is done."""

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
