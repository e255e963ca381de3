variable "role" {
  description = "Role of the instance: probe or monitor."
  type        = string

  validation {
    condition     = contains(["probe", "monitor"], var.role)
    error_message = "role must be probe or monitor."
  }
}

variable "experiment_yaml" {
  description = "Text of experiment.yaml."
  type        = string
}

variable "bootstrap_environment" {
  description = "Settings of the bootstrap; no secrets."
  type        = map(string)

  validation {
    condition     = alltrue([for v in values(var.bootstrap_environment) : !can(regex("['\\n]", v))])
    error_message = "bootstrap_environment must not contain quotes or line breaks."
  }
}

variable "files" {
  description = "Further files by path, world-readable on the instance; no secrets."
  type        = map(string)
  default     = {}
}
