terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }

  # Partial: bucket, key and region come from `-backend-config=backend.hcl`, so that no account's
  # names stand here. See backend.hcl.example.
  backend "s3" {}
}

# One provider for all regions: since version 6 every resource names its region itself.
provider "aws" {
  region = local.home_region

  default_tags {
    tags = local.identity_tags
  }
}
