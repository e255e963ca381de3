"""The analysis: from evidence in Prometheus to a verdict and a report."""
