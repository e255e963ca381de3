"""Plumbing that every command shares: child processes, signals, progress, files, certificates."""
