locals {
  experiment_yaml = file(var.experiment_file)
  experiment      = yamldecode(local.experiment_yaml)

  # Prometheus discovers instances by the first two; see contract/tags.py.
  identity_tags = {
    Project    = "binance-latency-sweep"
    Experiment = var.experiment_id
    ManagedBy  = "terraform"
  }
  # Also on every resource; `sweep reap` deletes what has expired.
  expiry_tags = { ExpiresAt = local.expires_at }
  all_tags    = merge(local.identity_tags, local.expiry_tags)

  active_regions = sort([for name, region in local.experiment.regions : name if contains(var.phases, region.phase)])
  chosen_types   = var.instance_types == null ? keys(local.experiment.instance_types) : var.instance_types

  creates_monitor = var.monitor.mode == "create"
  monitor_region  = coalesce(var.monitor.region, try(local.active_regions[0], "eu-central-1"))
  # For global resources, and calls without a region.
  home_region = local.monitor_region

  secrets_path = "/binance-latency-sweep/${var.experiment_id}/scrape"

  # Port of the feed; 443 if the endpoint's URL has none.
  exchange_port = tonumber(try(regex("^wss?://[^/:]+:([0-9]+)", local.experiment.market_data.endpoint)[0], "443"))
}

# Expiry time of the sweep, fixed at the first apply.
resource "terraform_data" "expiry" {
  input = timeadd(plantimestamp(), "${var.ttl_hours}h")

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  expires_at = terraform_data.expiry.input
}

check "not_expired" {
  assert {
    condition     = timecmp(local.expires_at, plantimestamp()) > 0
    error_message = "This sweep expired at ${local.expires_at}: new instances would power off. Destroy it and start a new one."
  }
}

# --- Candidates ----------------------------------------------------------------------------------

data "aws_ec2_instance_type_offerings" "probe" {
  for_each = toset(local.active_regions)

  region        = each.key
  location_type = "availability-zone-id"

  filter {
    name   = "instance-type"
    values = local.chosen_types
  }
}

module "plan" {
  source = "./modules/plan"

  experiment          = local.experiment
  phases              = var.phases
  instance_types      = var.instance_types
  replicas            = var.replicas
  az_ids              = var.az_ids
  excluded_candidates = var.excluded_candidates
  # The types of a precision-time group are taken at their word, as the list is of a date.
  phc_families = local.clock_table.phc_families
  phc_types    = var.precision_time_types
  phc_wanted   = var.clock == "phc" || var.timestamps == "nic"
  offerings = {
    for region, offered in data.aws_ec2_instance_type_offerings.probe : region => {
      for t in local.chosen_types : t => [
        for index, offered_type in offered.instance_types : offered.locations[index] if offered_type == t
      ]
    }
  }
}

# --- One network per region ----------------------------------------------------------------------

locals {
  # The networks of different regions are never connected, so they may overlap.
  network_cidr = "10.99.0.0/24"
  monitor_cidr = local.creates_monitor ? "${aws_eip.monitor[0].public_ip}/32" : var.monitor.cidr

  # The keys have to be known before the addresses are.
  scrape_ingress = {
    metrics = { port = var.metrics_port, cidr = local.monitor_cidr, description = "Scrapes of the probe by the monitor" }
    node    = { port = 9100, cidr = local.monitor_cidr, description = "Scrapes of node_exporter by the monitor" }
  }
  ssh_ingress = var.ssh_public_key == null ? {} : {
    for index, cidr in var.allowed_cidrs : "ssh-${index}" => { port = 22, cidr = cidr, description = "SSH from an allowed range" }
  }
}

module "network" {
  source   = "./modules/network"
  for_each = module.plan.zones

  region       = each.key
  name         = "latency-probe-${var.experiment_id}"
  cidr_block   = local.network_cidr
  az_ids       = each.value
  ingress      = merge(local.scrape_ingress, local.ssh_ingress)
  egress_ports = toset([443, local.exchange_port])
  tags         = local.expiry_tags
}

resource "aws_placement_group" "precision_time" {
  # As a value, so that providers older than this strategy still accept sweeps that do not use it.
  for_each = length(setintersection(var.precision_time_types, local.chosen_types)) > 0 ? { for region in module.plan.regions : region => "precision-time" } : {}

  region   = each.key
  name     = "latency-probe-${var.experiment_id}"
  strategy = each.value
  tags     = local.expiry_tags
}

resource "aws_key_pair" "this" {
  for_each = var.ssh_public_key == null ? [] : toset(concat(local.active_regions, local.creates_monitor ? [local.monitor_region] : []))

  region     = each.key
  key_name   = "latency-sweep-${var.experiment_id}"
  public_key = var.ssh_public_key
  tags       = local.expiry_tags
}

# Created here for tags, two weeks of retention, and deletion with the sweep.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:the log is about public market data and has no secrets; it is encrypted with AWS' own key
  #checkov:skip=CKV_AWS_338:a sweep lasts hours; its evidence is archived, not its log
  for_each = var.cloudwatch_logs ? toset(concat(local.active_regions, local.creates_monitor ? [local.monitor_region] : [])) : []

  region            = each.key
  name              = "/binance-latency-sweep/${var.experiment_id}"
  retention_in_days = 14
  tags              = local.expiry_tags
}

# --- Probes --------------------------------------------------------------------------------------

locals {
  versions    = yamldecode(file("${path.module}/../../../contract/versions.yaml"))
  clock_table = yamldecode(file("${path.module}/../../../contract/instance_clocks.yaml"))
  bootstrap_environment = {
    NODE_EXPORTER_VERSION = local.versions.node_exporter
    PROMETHEUS_VERSION    = local.versions.prometheus
    ALERTMANAGER_VERSION  = local.versions.alertmanager
    GRAFANA_VERSION       = local.versions.grafana
    WHEEL_URI             = var.wheel_uri
    WHEEL_SHA256          = var.wheel_sha256 == null ? "" : var.wheel_sha256
    PIP_INDEX_URL         = var.pip_index_url == null ? "" : var.pip_index_url
    EXPERIMENT_ID         = var.experiment_id
    EXPIRES_AT            = formatdate("YYYY-MM-DD hh:mm:ss 'UTC'", local.expires_at)
    CLOCK                 = var.clock
    TIMESTAMPS            = var.timestamps
    SCRAPE_TLS            = tostring(var.scrape_tls)
    SECRETS_PATH          = local.secrets_path
    METRICS_PORT          = tostring(var.metrics_port)
  }
  # What each source of timestamps needs beyond the unit itself; auto may capture.
  timestamps_drop_in = {
    auto    = "timestamps-capture.conf"
    socket  = null
    capture = "timestamps-capture.conf"
    nic     = "timestamps-nic.conf"
  }[var.timestamps]
  scheduling = join("\n", compact([
    "[Service]",
    var.scheduling.realtime_priority > 0 ? "CPUSchedulingPriority=${var.scheduling.realtime_priority}" : "CPUSchedulingPolicy=other",
    "Nice=${var.scheduling.nice}",
    var.scheduling.cpu_affinity == null ? "" : "CPUAffinity=${var.scheduling.cpu_affinity}",
    "",
  ]))
}

module "user_data" {
  source   = "./modules/user_data"
  for_each = module.plan.probes

  role            = "probe"
  experiment_yaml = local.experiment_yaml
  bootstrap_environment = merge(local.bootstrap_environment, {
    AWS_DEFAULT_REGION = each.value.region
    LOG_GROUP          = var.cloudwatch_logs ? aws_cloudwatch_log_group.this[each.value.region].name : ""
    HAS_PHC            = tostring(each.value.has_phc)
  })
  files = merge(
    local.timestamps_drop_in == null ? {} : {
      "/etc/systemd/system/binance-probe.service.d/20-timestamps.conf" = file("${path.module}/../bootstrap/${local.timestamps_drop_in}")
    },
    {
      "/etc/latency-sweep/probe.env" = join("", [for k, v in merge(
        {
          PROBE_CONFIG          = "/etc/latency-sweep/experiment.yaml"
          PROBE_REGION          = each.value.region
          PROBE_INSTANCE_FAMILY = each.value.family
          PROBE_EXPERIMENT_ID   = var.experiment_id
          # The security group admits the monitor's address only.
          PROBE_METRICS_HOST = "0.0.0.0"
          PROBE_METRICS_PORT = tostring(var.metrics_port)
        },
        # auto is the probe's own default.
        var.timestamps == "auto" ? {} : { PROBE_TIMESTAMPS = var.timestamps },
        var.scrape_tls ? {
          PROBE_WEB_CONFIG_FILE   = "/etc/latency-sweep/web.yml"
          PROBE_BEARER_TOKEN_FILE = "/etc/latency-sweep/scrape/token"
        } : {},
      ) : "${k}=${v}\n"])
      "/etc/systemd/system/binance-probe.service.d/10-scheduling.conf" = "${local.scheduling}\n"
    },
    var.scrape_tls ? { "/etc/latency-sweep/web.yml" = file("${path.module}/../bootstrap/web.yml") } : {},
  )
}

module "probe" {
  source   = "./modules/probe"
  for_each = module.plan.probes

  region            = each.value.region
  name              = "latency-probe-${each.value.az_id}-${each.value.instance_type}-${each.value.replica}"
  instance_type     = each.value.instance_type
  architecture      = each.value.architecture
  ami_ssm_parameter = var.ami_ssm_parameter
  subnet_id         = module.network[each.value.region].subnet_ids[each.value.az_id]
  security_group_id = module.network[each.value.region].security_group_id
  instance_profile  = aws_iam_instance_profile.probe.name
  placement_group   = contains(var.precision_time_types, each.value.instance_type) ? aws_placement_group.precision_time[each.value.region].name : null
  key_name          = var.ssh_public_key == null ? null : aws_key_pair.this[each.value.region].key_name
  root_volume_gib   = var.root_volume_gib
  user_data_base64  = module.user_data[each.key].user_data_base64
  tags              = merge(local.expiry_tags, { Role = "probe", Family = each.value.family, Replica = tostring(each.value.replica) })
  all_tags          = merge(local.all_tags, { Role = "probe" })
}
