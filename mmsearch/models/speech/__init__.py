"""Speech recognition, language identification and speaker diarisation."""
