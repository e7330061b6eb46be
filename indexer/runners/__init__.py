"""Where the work of an indexing run is done: see `mmsearch.protocols.Runner`."""
