"""Simulated sweeps whose ground truth is known."""
