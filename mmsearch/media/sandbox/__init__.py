"""Decoding in confined worker processes."""
