"""Speaker diarisation: `clustering` needs no model; `pyannote` is an optional package."""
