"""Settings that hold for every test."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# The first call of a kernel compiles it, which takes longer than any sensible deadline.
settings.register_profile("imcsim", deadline=None)
settings.load_profile("imcsim")

# A process that a test starts must run the same imcsim as the test, even where another one is
# installed, and must draw without a display.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["MPLBACKEND"] = "Agg"
