"""Vector indexes: one per channel, each a cache of what SQL holds."""
