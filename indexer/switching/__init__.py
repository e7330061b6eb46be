"""Changing the models of a collection."""
