# Selects the candidates and instances of a sweep from the experiment. Every choice is made here; the
# other modules create what they are given. It has no resources and needs no provider, so it is
# evaluated and tested without AWS.

terraform {
  required_version = ">= 1.5"
}

locals {
  regions = {
    for name, region in var.experiment.regions : name => region if contains(var.phases, region.phase)
  }
  chosen_types = var.instance_types == null ? keys(var.experiment.instance_types) : distinct(var.instance_types)
  types        = { for t in local.chosen_types : t => var.experiment.instance_types[t] if contains(keys(var.experiment.instance_types), t) }

  # A PTP hardware clock is enabled on these alone: to do so interrupts the network.
  has_phc = { for t in keys(local.types) : t => contains(var.phc_families, split(".", t)[0]) || contains(var.phc_types, t) }

  # Zones that offer each type.
  offered = {
    for region in keys(local.regions) : region => {
      for t in keys(local.types) : t => sort(try(var.offerings[region][t], []))
    }
  }
  # Zones that offer all types, so that types are compared within one. Types that no zone of the
  # region offers are ignored.
  common = {
    for region, by_type in local.offered : region =>
    try(sort(tolist(setintersection([for zones in values(by_type) : toset(zones) if length(zones) > 0]...))), [])
  }

  zones_requested = {
    for region, by_type in local.offered : region => {
      for t, zones in by_type : t => (
        contains(keys(var.az_ids), region) ? sort(distinct(var.az_ids[region])) :
        length(zones) == 0 ? [] :
        length(local.common[region]) > 0 ? [local.common[region][0]] : [zones[0]]
      )
    }
  }

  requested = flatten([
    for region, by_type in local.zones_requested : [
      for t, zones in by_type : [
        for zone in zones : {
          name          = "${region}/${zone}/${t}"
          region        = region
          az_id         = zone
          instance_type = t
          family        = local.types[t].family
          architecture  = local.types[t].architecture
          offered       = contains(local.offered[region][t], zone)
        }
      ]
    ]
  ])
  deployed = [for c in local.requested : c if c.offered && !contains(var.excluded_candidates, c.name)]

  not_offered = concat(
    [for c in local.requested : c.name if !c.offered],
    flatten([for region, by_type in local.zones_requested : [for t, zones in by_type : "${region}/-/${t}" if length(zones) == 0]]),
  )
}
