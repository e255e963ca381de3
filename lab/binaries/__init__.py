"""Programs that the local stack needs, fetched once."""
