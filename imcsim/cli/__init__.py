"""The command line: parse, call, print."""

from imcsim.cli.main import main

__all__ = ["main"]
