# The role of all probes: Session Manager, CloudWatch agent, the sweep's secrets, the wheel.

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

locals {
  iam_path         = "/binance-latency-sweep/"
  managed_policies = ["AmazonSSMManagedInstanceCore", "CloudWatchAgentServerPolicy"]

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })

  policy_values = {
    partition    = data.aws_partition.current.partition
    account      = data.aws_caller_identity.current.account_id
    secrets_path = local.secrets_path
    wheel        = startswith(var.wheel_uri, "s3://") ? trimprefix(var.wheel_uri, "s3://") : "none/none"
  }

  # The managed policy allows reading every SSM parameter; these restrict it to the sweep's own.
  own_policies = merge(
    { parameters = templatefile("${path.module}/../iam/own-parameters.json", local.policy_values) },
    startswith(var.wheel_uri, "s3://") ? { wheel = templatefile("${path.module}/../iam/wheel.json", local.policy_values) } : {},
  )
}

resource "aws_iam_role" "probe" {
  name_prefix        = "latency-probe-"
  path               = local.iam_path
  description        = "Probes of the latency sweep ${var.experiment_id}"
  assume_role_policy = local.assume_role_policy
  tags               = local.expiry_tags
}

resource "aws_iam_role_policy_attachment" "probe" {
  for_each = toset(local.managed_policies)

  role       = aws_iam_role.probe.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "probe" {
  for_each = local.own_policies

  name   = each.key
  role   = aws_iam_role.probe.name
  policy = each.value
}

resource "aws_iam_instance_profile" "probe" {
  name_prefix = "latency-probe-"
  path        = local.iam_path
  role        = aws_iam_role.probe.name
  tags        = local.expiry_tags

  # Instances need their permissions at boot.
  depends_on = [aws_iam_role_policy_attachment.probe, aws_iam_role_policy.probe]
}
