variable "experiment" {
  description = "The decoded experiment.yaml; regions and instance_types are used."
  type        = any
}

variable "phases" {
  description = "Phases whose regions are active."
  type        = list(number)
}

variable "instance_types" {
  description = "Instance types to deploy. null: all of the experiment."
  type        = list(string)
  default     = null
}

variable "replicas" {
  description = "Instances per candidate."
  type        = number
  default     = 1
}

variable "az_ids" {
  description = "Availability zone ids per region. A region without an entry uses the first zone that offers all types."
  type        = map(list(string))
  default     = {}
}

variable "phc_families" {
  description = "Instance families whose network card has a PTP hardware clock (PHC)."
  type        = list(string)
  default     = []
}

variable "phc_types" {
  description = "Instance types that have one though their family is not listed."
  type        = list(string)
  default     = []
}

variable "phc_wanted" {
  description = "Whether every instance needs one."
  type        = bool
  default     = false
}

variable "offerings" {
  description = "Availability zone ids that offer each instance type, per region."
  type        = map(map(list(string)))
}

variable "excluded_candidates" {
  description = "Candidates not to deploy, as region/az_id/instance_type."
  type        = list(string)
  default     = []
}
