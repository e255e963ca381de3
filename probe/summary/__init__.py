"""What a probe measures now: numbers of each stream, as records, text, JSON and a page."""
