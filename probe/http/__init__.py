"""Access control of the metrics endpoint: authentication, TLS, and limits on clients.

Nothing here knows what is served.
"""
