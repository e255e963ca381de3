"""The steps in the life of a sweep, from planning to teardown."""
