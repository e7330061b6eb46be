"""One module per group of addresses; each makes its router."""
