variable "region" {
  description = "AWS region."
  type        = string
}

variable "name" {
  description = "Name tag of the instance and its volume."
  type        = string
}

variable "experiment_id" {
  description = "Name of the sweep; for the role's description."
  type        = string
}

variable "instance_type" {
  description = "EC2 instance type."
  type        = string
}

variable "architecture" {
  description = "x86_64 or arm64; decides the image."
  type        = string

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "ami_ssm_parameter" {
  description = "Public SSM parameter that names the image; %s becomes the architecture."
  type        = string
}

variable "subnet_id" {
  description = "Subnet of the instance."
  type        = string
}

variable "security_group_id" {
  description = "The one security group of the instance."
  type        = string
}

variable "eip_allocation_id" {
  description = "The fixed address that the probes let in."
  type        = string
}

variable "key_name" {
  description = "EC2 key pair for SSH, or null for none."
  type        = string
  default     = null
}

variable "volume_gib" {
  description = "Size of the root volume, which holds Prometheus' data, GiB."
  type        = number
}

variable "assume_role_policy" {
  description = "Who may take the role: EC2."
  type        = string
}

variable "managed_policies" {
  description = "Names of AWS' managed policies: Session Manager and the CloudWatch agent."
  type        = list(string)
}

variable "discovery_policy" {
  description = "The policy with which Prometheus finds the probes."
  type        = string
}

variable "own_policies" {
  description = "Further inline policies by name: limits on parameters, the wheel's object."
  type        = map(string)
}

variable "user_data_base64" {
  description = "Compressed cloud-init document; no secrets."
  type        = string
}

variable "tags" {
  description = "Tags of every resource, besides the provider's default tags."
  type        = map(string)
}

variable "all_tags" {
  description = "Tags of the root volume, which the default tags do not reach in every provider version."
  type        = map(string)
}
