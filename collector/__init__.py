"""The collector: runs a sweep from preflight to teardown."""
