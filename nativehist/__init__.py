"""Prometheus' native histograms for Python: observe, expose, read back and calculate.

It needs nothing of the rest of this project. Importing the package imports nothing else; each
module imports what it needs (numpy; prometheus_client for `instrument`, `protobuf`, `exposition`
and `negotiation`; msgspec for `api_json`). README.md has complete examples.

Observing and exposing:
    instrument.NativeHistogramMetric     a metric of a prometheus_client registry, with labels
    instrument.NativeHistogramFamily     what such a metric collects
    histogram.NativeHistogram            one live histogram: `observe`, `capture`, `snapshot`
    settings.HistogramSettings           its resolution and limits
    snapshot.HistogramSnapshot           its state at one moment: immutable, integer counts
    exposition.take_snapshot, render     a registry as protobuf, OpenMetrics or text
    protobuf.encode                      the protobuf format alone
    negotiation.choose_format            what an `Accept` header asks for
    bounds.exponential_bounds            classic bounds for those who read text

Reading and calculating:
    api_json.decode, from_document       histograms in the HTTP API's JSON
    float_histogram.FloatHistogram       merge (`+`), subtract (`-`), quantiles, moments
    grid.Grid                            many histograms on common buckets, for resampling
    quantile.histogram_quantiles         Prometheus' rule, for many rows of counts

Buckets:
    bounds.bucket_keys, upper_bounds     the one definition of which value falls where
    sparse_buckets.SparseBuckets         populated buckets of one sign
"""
