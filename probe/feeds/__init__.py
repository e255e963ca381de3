"""The exchanges' message formats: one module per feed, all behind `base.Feed`."""
