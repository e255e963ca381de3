"""Recording rules and alerts, generated with the numbers of an experiment."""
