"""One reader per file format. They run in decoding workers."""
