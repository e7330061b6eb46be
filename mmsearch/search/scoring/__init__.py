"""From raw similarities to calibrated scores, one list and the no-answer decision."""
