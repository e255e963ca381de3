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
  description = "All probes: location, instance type, instance id and private address."
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
  description = "URL of Prometheus; through a tunnel if the monitor is created here."
  value       = local.creates_monitor ? "http://127.0.0.1:9090" : var.monitor.prometheus_url
}

output "grafana_url" {
  description = "URL of Grafana; through a tunnel if the monitor is created here. null if there is none."
  value       = local.creates_monitor ? "http://127.0.0.1:3000" : var.monitor.grafana_url
}

output "monitor" {
  description = "The monitor instance, and the commands that open tunnels to its Prometheus and Grafana. null for an existing monitor."
  value = local.creates_monitor ? {
    region            = local.monitor_region
    instance_id       = module.monitor[0].instance_id
    public_ip         = aws_eip.monitor[0].public_ip
    prometheus_tunnel = "aws ssm start-session --region ${local.monitor_region} --target ${module.monitor[0].instance_id} --document-name AWS-StartPortForwardingSession --parameters portNumber=9090,localPortNumber=9090"
    grafana_tunnel    = "aws ssm start-session --region ${local.monitor_region} --target ${module.monitor[0].instance_id} --document-name AWS-StartPortForwardingSession --parameters portNumber=3000,localPortNumber=3000"
  } : null
}

output "secrets_path" {
  description = "Path in SSM Parameter Store of the scrape secrets; the secrets themselves are not in this state."
  value       = local.secrets_path
}

output "expires_at" {
  description = "Time at which the instances power off."
  value       = local.expires_at
}
