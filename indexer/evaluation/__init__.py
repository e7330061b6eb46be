"""Data sets as libraries, for mmsearch.evaluation and mteb."""
