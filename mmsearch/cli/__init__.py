"""The command line: the only part of mmsearch that imports indexer."""

from mmsearch.cli.app import main

__all__ = ["main"]
