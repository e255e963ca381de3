# The smallest useful sweep: Europe, one type, one zone per region.
experiment_id  = "minimal"
phases         = [1]
instance_types = ["c6in.large"]
wheel_uri      = "binance-latency-sweep==0.1.0"
ttl_hours      = 4
