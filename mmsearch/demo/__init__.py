"""The contents of the demo library: drawn pictures, notes, voice memos and example queries."""
