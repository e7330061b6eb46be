"""The command line: the only part of mmsearch that imports indexer."""

from mmsearch.cli.run import main

__all__ = ["main"]
