"""Where on AWS Binance market data arrives soonest; see `README.md`."""
