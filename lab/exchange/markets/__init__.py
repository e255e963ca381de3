"""The markets: their rules, their books, and how their messages are encoded."""
