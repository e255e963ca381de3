"""A simulated Binance: spot, USD-M futures and SBE, served to each site with a scripted latency.

Run it with `python -m latency_sweep.lab.exchange --config FILE`, or from Python with
`process.ExchangeProcess`. What it really sent, and when, is the ground truth that
`ground_truth.read_ground_truth` reads.
"""
