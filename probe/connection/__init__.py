"""Supervised connections, and the session that follows the timeline."""
