"""Brings files into a library. May import mmsearch; mmsearch never imports it."""
