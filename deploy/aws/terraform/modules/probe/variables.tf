variable "region" {
  description = "AWS region."
  type        = string
}

variable "name" {
  description = "Name tag of the instance and its volume."
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
  description = "Subnet of the instance, which determines its availability zone."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the instance."
  type        = string
}

variable "instance_profile" {
  description = "Name of the instance profile."
  type        = string
}

variable "placement_group" {
  description = "Placement group, or null."
  type        = string
  default     = null
}

variable "key_name" {
  description = "EC2 key pair for SSH, or null for none."
  type        = string
  default     = null
}

variable "root_volume_gib" {
  description = "Size of the root volume, GiB."
  type        = number
}

variable "user_data_base64" {
  description = "Compressed cloud-init document; no secrets."
  type        = string
}

variable "tags" {
  description = "Tags of the instance, in addition to the provider's default tags."
  type        = map(string)
}

variable "all_tags" {
  description = "Tags of the root volume, which not every provider version gives the default tags."
  type        = map(string)
}
