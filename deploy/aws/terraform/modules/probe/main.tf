# One probe instance.

data "aws_ssm_parameter" "ami" {
  region = var.region
  name   = format(var.ami_ssm_parameter, var.architecture)
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_88:it measures the internet path and is scraped from another region; only the monitor may connect
  #checkov:skip=CKV_AWS_126:detailed monitoring costs money; node_exporter covers it
  region        = var.region
  ami           = data.aws_ssm_parameter.ami.insecure_value
  instance_type = var.instance_type

  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [var.security_group_id]
  associate_public_ip_address = true
  placement_group             = var.placement_group
  iam_instance_profile        = var.instance_profile
  key_name                    = var.key_name

  user_data_base64            = var.user_data_base64
  user_data_replace_on_change = true

  # The expiry timer powers the instance off, which needs no credentials.
  instance_initiated_shutdown_behavior = "terminate"

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
    volume_size           = var.root_volume_gib
    encrypted             = true
    delete_on_termination = true
    tags                  = merge(var.all_tags, { Name = var.name })
  }

  tags = merge(var.tags, { Name = var.name })

  lifecycle {
    # A newer image must not replace a probe during a sweep.
    ignore_changes = [ami]
  }
}
