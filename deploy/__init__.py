"""Deployments of the stack: on AWS, and on one machine against a simulated exchange."""
