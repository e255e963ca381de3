variable "region" {
  description = "AWS region."
  type        = string
}

variable "name" {
  description = "Name tag of the instance and its volume."
  type        = string
}

variable "instance_type" {
  description = "EC2 instance type; every Nitro type has ENA, and so has the image."
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
  description = "Subnet, and so the availability zone, of the instance."
  type        = string
}

variable "security_group_id" {
  description = "The one security group of the instance."
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
  description = "Tags of the instance, besides the provider's default tags."
  type        = map(string)
}

variable "all_tags" {
  description = "Tags of the root volume, which the default tags do not reach in every provider version."
  type        = map(string)
}
