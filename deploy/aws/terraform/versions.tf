terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }

  # Partial configuration: bucket, key and region come from `-backend-config=backend.hcl`; see
  # backend.hcl.example.
  backend "s3" {}
}

# One provider for all regions: since version 6 every resource has a region argument.
provider "aws" {
  region = local.home_region

  default_tags {
    tags = local.identity_tags
  }
}
