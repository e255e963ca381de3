# All regions and types, selected zones, two instances per candidate, a larger monitor.
experiment_id = "full"
phases        = [1, 2]
replicas      = 2

az_ids = {
  ap-northeast-1 = ["apne1-az1", "apne1-az2", "apne1-az4"]
  ap-southeast-1 = ["apse1-az1", "apse1-az2"]
}

wheel_uri    = "s3://my-artifacts/binance_latency_sweep-0.1.0-py3-none-any.whl"
wheel_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

clock      = "auto"
scheduling = { nice = -15 }

monitor = {
  mode           = "create"
  region         = "ap-northeast-1"
  instance_type  = "m7g.large"
  architecture   = "arm64"
  volume_gib     = 100
  retention_days = 60
}

# SSH in addition to Session Manager, from one address.
ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleExam me@example"
allowed_cidrs  = ["203.0.113.7/32"]

ttl_hours = 36
