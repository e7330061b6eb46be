"""From decoded parts to segments."""
