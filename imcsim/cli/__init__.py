"""The command line: parse, call, print."""

from imcsim.cli.entry import main

__all__ = ["main"]
