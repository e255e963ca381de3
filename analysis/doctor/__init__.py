"""`analyze doctor`: whether a Prometheus is fit to hold the evidence of a sweep."""
