"""The probe: receives Binance's feeds, stamps every message and exposes Prometheus metrics."""
