"""Indexes files into a library. May import mmsearch; mmsearch never imports it."""

from indexer.runs import RunSummary, index
from indexer.switching.switch import SwitchSummary, abort_switch, switch_models

__all__ = ["RunSummary", "SwitchSummary", "abort_switch", "index", "switch_models"]
