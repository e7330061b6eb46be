"""A multi-modal search engine."""
