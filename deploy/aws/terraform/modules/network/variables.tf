variable "region" {
  description = "AWS region of the network."
  type        = string
}

variable "name" {
  description = "Name tag of the network, and prefix of the names of its parts."
  type        = string
}

variable "cidr_block" {
  description = "IPv4 range of the network; each of up to eight subnets gets an eighth of it."
  type        = string
}

variable "az_ids" {
  description = "Availability zone ids that get a subnet."
  type        = list(string)

  validation {
    condition     = length(var.az_ids) >= 1 && length(var.az_ids) <= 8
    error_message = "az_ids must name one to eight zones."
  }
}

variable "ingress" {
  description = "Inbound TCP ports, each from one IPv4 range, by a short name; never from 0.0.0.0/0."
  type = map(object({
    port        = number
    cidr        = string
    description = string
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.ingress) : rule.cidr != "0.0.0.0/0"])
    error_message = "ingress must not be open to 0.0.0.0/0."
  }
}

variable "egress_ports" {
  description = "Outbound TCP ports, to any address."
  type        = set(number)
}

variable "tags" {
  description = "Tags of every resource, in addition to the provider's default tags."
  type        = map(string)
}
