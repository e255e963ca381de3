"""Clocks: how far the local one is from UTC, and the exchange's from the local one."""
