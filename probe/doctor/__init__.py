"""`probe doctor`: whether this host can measure, and what to do where it cannot."""
