"""Prometheus: the configuration template, recording rules and alerts."""
