"""The SQL store: everything that is true about a library. Vector indexes are derived from it."""
