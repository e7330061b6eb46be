"""Brings files into a library. May import mmsearch; mmsearch never imports it."""

from indexer.runs import RunSummary, index

__all__ = ["RunSummary", "index"]
