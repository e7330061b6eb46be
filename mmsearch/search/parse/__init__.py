"""From what a user sends to a checked query: JSON, typed words, filters."""
