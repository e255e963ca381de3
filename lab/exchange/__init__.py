"""A simulated Binance: spot, USD-M futures and SBE, served to each place with a scripted latency.

Run it with `python -m deploy.local.exchange --config FILE`, or from Python with
`deploy.local.exchange.process.ExchangeProcess`. What it really sent, and when, is the ground truth
that `deploy.local.exchange.truth.read_truth` reads.
"""
