"""The fault laboratory: every fault that can occur between a probe and its exchange, by name.

`registry.FAULTS` is the table of faults. A `proxy.FaultProxy` sits between one probe and the
simulated exchange and injects a fault on request; `accounting` compares what the exchange sent
with what Prometheus says was received and lost. `laboratory` runs many faults at once.
"""
