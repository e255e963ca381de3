# The cloud-init document of an instance: the files of the bootstrap, its settings, and the command
# that runs it. It needs no provider, so it is rendered and tested without AWS. User data is readable
# on the instance and in the console: it contains no secrets.

terraform {
  required_version = ">= 1.5"
}

locals {
  bootstrap = "${path.module}/../../../bootstrap"
  common    = ["lib.sh", "sweep-expire.service", "sweep-expire.timer", "sweep-journal.service", "sweep-journal.logrotate", "cloudwatch-agent.json"]
  by_role = {
    probe = [
      "probe.sh", "phc.sh", "clock.sh", "chrony.conf", "tuning.sh", "tuning.table", "node-web.yml",
      "binance-probe.service", "node-exporter.service", "sweep-tuning.service",
    ]
    monitor = [
      "monitor.sh", "prometheus.service", "alertmanager.service", "alertmanager.yml",
      "grafana.repo", "grafana.ini", "grafana-datasource.yml", "grafana-dashboards.yml",
    ]
  }

  shipped = [
    for name in concat(local.common, local.by_role[var.role]) : {
      path        = "/opt/latency-sweep/bootstrap/${name}"
      content     = file("${local.bootstrap}/${name}")
      permissions = endswith(name, ".sh") ? "0755" : "0644"
    }
  ]

  # A shell sources this file, hence the quotes; values must not contain any.
  written = [
    for path, content in merge(
      {
        "/etc/latency-sweep/experiment.yaml" = var.experiment_yaml
        "/etc/latency-sweep/bootstrap.env"   = join("", [for k, v in var.bootstrap_environment : "${k}='${v}'\n"])
      },
      var.files,
    ) : { path = path, content = content, permissions = "0644" }
  ]

  cloud_config = {
    timezone        = "UTC"
    package_upgrade = false
    write_files     = concat(local.shipped, local.written)
    runcmd          = [["/opt/latency-sweep/bootstrap/${var.role}.sh"]]
  }
}
