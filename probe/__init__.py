"""The probe: receives Binance's feeds, timestamps every message and exposes Prometheus metrics."""
