# The smallest sweep that can answer something: Europe, one type, one zone each.
experiment_id  = "minimal"
phases         = [1]
instance_types = ["c6in.large"]
wheel_uri      = "binance-latency-sweep==0.1.0"
ttl_hours      = 4
