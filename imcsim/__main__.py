"""``python -m imcsim`` does what the command ``imcsim`` does."""

from __future__ import annotations

from imcsim.cli import main

if __name__ == "__main__":
    main()
