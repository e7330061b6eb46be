"""CLAP models for sounds."""
