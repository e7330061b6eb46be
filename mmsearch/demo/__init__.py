"""The demo library and its drawn pictures."""
