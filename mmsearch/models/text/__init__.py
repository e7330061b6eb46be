"""Text embedding models through sentence-transformers."""
