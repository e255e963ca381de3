"""What the metrics endpoint serves: the registry, the probe's state, health and samples."""
