"""Where events come from: a generated market or a recording."""
