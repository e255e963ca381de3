"""The fault laboratory: everything that can go wrong between a probe and its exchange, by name.

`registry.FAULTS` is the table of faults. A `proxy.FaultProxy` stands between one probe and the
simulated exchange and brings a fault about when told to; `accounting` then compares what the
exchange says it sent with what Prometheus says was received and lost. `laboratory` puts the parts
together.
"""
