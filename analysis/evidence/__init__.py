"""What each run observed of each candidate, from Prometheus, an archive or a JSON Lines file."""
