"""The command line: one command a file, no logic."""

from saccade.cli.main import main

__all__ = ["main"]
