"""From ranked segments to a page of hits."""
