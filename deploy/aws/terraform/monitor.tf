data "aws_ec2_instance_type_offerings" "monitor" {
  count = local.creates_monitor ? 1 : 0

  region        = local.monitor_region
  location_type = "availability-zone-id"

  filter {
    name   = "instance-type"
    values = [var.monitor.instance_type]
  }
}

locals {
  monitor_zone = local.creates_monitor ? sort(data.aws_ec2_instance_type_offerings.monitor[0].locations)[0] : null
}

resource "aws_eip" "monitor" {
  #checkov:skip=CKV2_AWS_19:it is attached by aws_eip_association in the monitor module
  count = local.creates_monitor ? 1 : 0

  region = local.monitor_region
  domain = "vpc"
  tags   = merge(local.expiry_tags, { Name = "latency-monitor-${var.experiment_id}" })
}

module "monitor_network" {
  source = "./modules/network"
  count  = local.creates_monitor ? 1 : 0

  region       = local.monitor_region
  name         = "latency-monitor-${var.experiment_id}"
  cidr_block   = local.network_cidr
  az_ids       = [local.monitor_zone]
  ingress      = local.ssh_ingress
  egress_ports = toset([443, var.metrics_port, 9100])
  tags         = local.expiry_tags
}

module "monitor_user_data" {
  source = "./modules/user_data"
  count  = local.creates_monitor ? 1 : 0

  role            = "monitor"
  experiment_yaml = local.experiment_yaml
  bootstrap_environment = merge(local.bootstrap_environment, {
    AWS_DEFAULT_REGION = local.monitor_region
    LOG_GROUP          = var.cloudwatch_logs ? aws_cloudwatch_log_group.this[local.monitor_region].name : ""
    REGIONS            = join(",", local.active_regions)
  })
  files = {
    "/etc/latency-sweep/prometheus.env" = "RETENTION=${var.monitor.retention_days}d\n"
  }
}

module "monitor" {
  source = "./modules/monitor"
  count  = local.creates_monitor ? 1 : 0

  region             = local.monitor_region
  name               = "latency-monitor-${var.experiment_id}"
  experiment_id      = var.experiment_id
  instance_type      = var.monitor.instance_type
  architecture       = var.monitor.architecture
  ami_ssm_parameter  = var.ami_ssm_parameter
  subnet_id          = module.monitor_network[0].subnet_ids[local.monitor_zone]
  security_group_id  = module.monitor_network[0].security_group_id
  eip_allocation_id  = aws_eip.monitor[0].allocation_id
  key_name           = var.ssh_public_key == null ? null : aws_key_pair.this[local.monitor_region].key_name
  volume_gib         = var.monitor.volume_gib
  iam_path           = local.iam_path
  assume_role_policy = local.assume_role_policy
  managed_policies   = local.managed_policies
  discovery_policy   = file("${path.module}/../iam/monitor.json")
  own_policies       = local.own_policies
  user_data_base64   = module.monitor_user_data[0].user_data_base64
  tags               = merge(local.expiry_tags, { Role = "monitor" })
  all_tags           = merge(local.all_tags, { Role = "monitor" })
}
