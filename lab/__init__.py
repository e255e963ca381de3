"""The laboratory: simulated exchange, faults, simulated sweeps and the local stack."""
