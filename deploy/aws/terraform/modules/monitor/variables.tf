variable "region" {
  description = "AWS region."
  type        = string
}

variable "name" {
  description = "Name tag of the instance and its volume."
  type        = string
}

variable "experiment_id" {
  description = "Name of the sweep, for the description of the role."
  type        = string
}

variable "instance_type" {
  description = "EC2 instance type."
  type        = string
}

variable "architecture" {
  description = "x86_64 or arm64; selects the image."
  type        = string

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "ami_ssm_parameter" {
  description = "Public SSM parameter of the image id; %s is replaced by the architecture."
  type        = string
}

variable "subnet_id" {
  description = "Subnet of the instance."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the instance."
  type        = string
}

variable "eip_allocation_id" {
  description = "Allocation id of the Elastic IP that probes admit."
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

variable "iam_path" {
  description = "IAM path of the role and the instance profile."
  type        = string
}

variable "assume_role_policy" {
  description = "Trust policy of the role."
  type        = string
}

variable "managed_policies" {
  description = "Names of AWS managed policies of the role."
  type        = list(string)
}

variable "discovery_policy" {
  description = "Inline policy for EC2 discovery of Prometheus."
  type        = string
}

variable "own_policies" {
  description = "Further inline policies of the role, by name."
  type        = map(string)
}

variable "user_data_base64" {
  description = "Compressed cloud-init document; no secrets."
  type        = string
}

variable "tags" {
  description = "Tags of every resource, in addition to the provider's default tags."
  type        = map(string)
}

variable "all_tags" {
  description = "Tags of the root volume, which not every provider version gives the default tags."
  type        = map(string)
}
