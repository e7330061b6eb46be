"""Speech recognition, languages and speakers."""
