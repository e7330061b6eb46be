"""Full text: words split the same way on every database, searched by FTS5 or tsvector."""
