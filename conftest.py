"""What pytest collects: without torch (extra `train`), nothing that imports it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

_IMPORTS_TORCH = re.compile(r"^(import|from) torch\b", re.MULTILINE)


def _files_with_torch() -> list[str]:
    """Modules and tests that need torch say so themselves, at the top."""
    root = Path(__file__).resolve().parent
    files = [file for name in ("imcsim/training", "tests") for file in (root / name).rglob("*.py")]
    return [str(file) for file in files if _IMPORTS_TORCH.search(file.read_text("utf-8"))]


collect_ignore = [] if find_spec("torch") else _files_with_torch()
