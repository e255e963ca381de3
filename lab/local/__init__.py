"""The whole stack on one machine, with a simulated exchange."""
