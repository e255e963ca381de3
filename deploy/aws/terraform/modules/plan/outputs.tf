output "regions" {
  description = "Names of the active regions."
  value       = sort(keys(local.regions))

  precondition {
    condition     = length(local.regions) > 0
    error_message = "No region of the experiment belongs to phases ${jsonencode(var.phases)}; its phases are ${jsonencode(distinct([for r in values(var.experiment.regions) : r.phase]))}."
  }

  precondition {
    condition     = length(setsubtract(keys(var.az_ids), keys(var.experiment.regions))) == 0
    error_message = "az_ids names regions that the experiment does not have: ${join(", ", setsubtract(keys(var.az_ids), keys(var.experiment.regions)))}."
  }
}

output "probes" {
  description = "Instances to create, by region/az_id/instance_type/replica."
  value = {
    for item in setproduct(local.deployed, range(1, var.replicas + 1)) :
    "${item[0].name}/${item[1]}" => {
      region        = item[0].region
      az_id         = item[0].az_id
      instance_type = item[0].instance_type
      family        = item[0].family
      architecture  = item[0].architecture
      replica       = item[1]
      has_phc       = local.has_phc[item[0].instance_type]
    }
  }

  precondition {
    condition     = !var.phc_wanted || alltrue(values(local.has_phc))
    error_message = "clock = \"phc\" and timestamps = \"nic\" need a PTP hardware clock, which these types do not have as far as is known: ${join(", ", [for t, has in local.has_phc : t if !has])}. Leave them out with instance_types, use auto, or name them in precision_time_types if AWS lists them now."
  }

  precondition {
    condition     = length(setsubtract(local.chosen_types, keys(var.experiment.instance_types))) == 0
    error_message = "instance_types names types that the experiment does not have: ${join(", ", setsubtract(local.chosen_types, keys(var.experiment.instance_types)))}; add them to experiment.yaml."
  }

  precondition {
    condition     = length(local.deployed) > 0
    error_message = "No candidate is left: not offered: ${jsonencode(local.not_offered)}; excluded: ${jsonencode(var.excluded_candidates)}."
  }
}

output "zones" {
  description = "Availability zone ids used, per region; excluding a candidate does not change them."
  value = {
    for region, by_type in local.zones_requested : region => sort(distinct(flatten(values(by_type))))
  }
}

output "dropped" {
  description = "Candidates not deployed, with the reason."
  value = merge(
    { for name in local.not_offered : name => "not offered in this zone" },
    { for c in local.requested : c.name => "excluded" if c.offered && contains(var.excluded_candidates, c.name) },
  )
}
