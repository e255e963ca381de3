"""Connections kept alive and replaced, and the session that follows the timeline."""
