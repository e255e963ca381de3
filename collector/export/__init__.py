"""Files for a Prometheus, Alertmanager and Grafana that somebody else already runs."""
