"""The ground truth: a record of every message that the exchange sent."""
