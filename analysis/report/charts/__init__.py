"""The charts of a report: geometry and axes."""
