"""Tests, intervals and resampling; they know runs, not what is decided from them."""
