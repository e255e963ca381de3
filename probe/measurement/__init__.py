"""Numbers: the native histogram and the sequence check. They know no exchange and no socket."""
