"""CLIP models through open_clip."""
