"""Who speaks when: `clustering` needs no model of its own, `pyannote` is an optional package."""
