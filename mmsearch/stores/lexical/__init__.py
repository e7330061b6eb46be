"""Full text: words cut the same way on every database, found by FTS5 or tsvector."""
