"""Where things are kept: SQL (the truth) and vector indexes (derived from it)."""
