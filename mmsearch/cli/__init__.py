"""The command line. The one place that knows both packages, mmsearch and indexer."""

from mmsearch.cli.app import main

__all__ = ["main"]
