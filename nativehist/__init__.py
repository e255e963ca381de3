"""Prometheus native histograms for Python: observe, merge, expose and read them."""
