output "probe_ips" {
  description = "Public address of the first instance of each family, by region: {region: {family: ip}}."
  value = {
    for region in module.plan.regions : region => {
      for family in distinct([for p in values(module.plan.probes) : p.family if p.region == region]) :
      family => [for key, p in module.plan.probes : module.probe[key].public_ip if p.region == region && p.family == family][0]
    }
  }
}

output "probes" {
  description = "Every probe: where it is, what it is, and its private address."
  value = [
    for key, p in module.plan.probes : {
      region        = p.region
      az_id         = p.az_id
      instance_type = p.instance_type
      instance_id   = module.probe[key].instance_id
      private_ip    = module.probe[key].private_ip
      replica       = p.replica
    }
  ]
}

output "dropped" {
  description = "Candidates that were not deployed, with the reason."
  value       = module.plan.dropped
}

output "prometheus_url" {
  description = "Prometheus' address; with a monitor of ours through the tunnel."
  value       = local.creates_monitor ? "http://127.0.0.1:9090" : var.monitor.prometheus_url
}

output "grafana_url" {
  description = "Grafana's address; with a monitor of ours through a tunnel. Null when there is none."
  value       = local.creates_monitor ? "http://127.0.0.1:3000" : var.monitor.grafana_url
}

output "monitor" {
  description = "The monitor instance, and the commands that open tunnels to its Prometheus and Grafana; null when it is yours."
  value = local.creates_monitor ? {
    region            = local.monitor_region
    instance_id       = module.monitor[0].instance_id
    public_ip         = aws_eip.monitor[0].public_ip
    prometheus_tunnel = "aws ssm start-session --region ${local.monitor_region} --target ${module.monitor[0].instance_id} --document-name AWS-StartPortForwardingSession --parameters portNumber=9090,localPortNumber=9090"
    grafana_tunnel    = "aws ssm start-session --region ${local.monitor_region} --target ${module.monitor[0].instance_id} --document-name AWS-StartPortForwardingSession --parameters portNumber=3000,localPortNumber=3000"
  } : null
}

output "secrets_path" {
  description = "Path in SSM Parameter Store under which the instances look for the secrets of the scrapes; the secrets themselves are nowhere in this state."
  value       = local.secrets_path
}

output "expires_at" {
  description = "When the instances switch themselves off."
  value       = local.expires_at
}
