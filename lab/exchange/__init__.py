"""A simulated Binance: spot, futures and SBE, served to each site with a scripted latency.

Run it with `python -m latency_sweep.lab.exchange --config FILE`, or from Python with
`process.ExchangeProcess`. What it sent, and when, is the ground truth, which
`ground_truth.reader.read_ground_truth` reads.
"""
