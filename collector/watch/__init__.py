"""`sweep watch`: a sweep live in the terminal."""
