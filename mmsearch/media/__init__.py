"""Decoding: hostile files in, pixels, samples and text out. Knows no model and no database."""
