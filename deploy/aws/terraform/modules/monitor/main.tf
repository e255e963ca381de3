# The monitor: one instance with Prometheus, Alertmanager and Grafana, which listen on the loopback
# interface only. Its Elastic IP is the only address that the probes' security groups admit.

data "aws_ssm_parameter" "ami" {
  region = var.region
  name   = format(var.ami_ssm_parameter, var.architecture)
}

data "aws_partition" "current" {}

resource "aws_iam_role" "this" {
  name_prefix        = "latency-monitor-"
  path               = var.iam_path
  description        = "Monitor of the latency sweep ${var.experiment_id}"
  assume_role_policy = var.assume_role_policy
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "managed" {
  for_each = toset(var.managed_policies)

  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "discovery" {
  name   = "discovery"
  role   = aws_iam_role.this.name
  policy = var.discovery_policy
}

resource "aws_iam_role_policy" "own" {
  for_each = var.own_policies

  name   = each.key
  role   = aws_iam_role.this.name
  policy = each.value
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "latency-monitor-"
  path        = var.iam_path
  role        = aws_iam_role.this.name
  tags        = var.tags
}

resource "aws_eip_association" "this" {
  region        = var.region
  allocation_id = var.eip_allocation_id
  instance_id   = aws_instance.this.id
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_88:it scrapes probes of other regions over the internet; only SSH from allowed ranges may connect, if any
  #checkov:skip=CKV_AWS_126:detailed monitoring costs money; Prometheus covers it
  region        = var.region
  ami           = data.aws_ssm_parameter.ami.insecure_value
  instance_type = var.instance_type

  subnet_id              = var.subnet_id
  vpc_security_group_ids = [var.security_group_id]
  # Needed at boot, until the Elastic IP is associated.
  associate_public_ip_address = true
  iam_instance_profile        = aws_iam_instance_profile.this.name
  key_name                    = var.key_name

  user_data_base64            = var.user_data_base64
  user_data_replace_on_change = false

  # A stopped instance keeps its disk, and with it the evidence.
  instance_initiated_shutdown_behavior = "stop"

  ebs_optimized = true
  monitoring    = false

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.volume_gib
    encrypted             = true
    delete_on_termination = true
    tags                  = merge(var.all_tags, { Name = var.name })
  }

  tags = merge(var.tags, { Name = var.name })

  lifecycle {
    # A newer image or a changed bootstrap must not replace the instance and lose the evidence.
    ignore_changes = [ami, user_data_base64, associate_public_ip_address]
  }
}
