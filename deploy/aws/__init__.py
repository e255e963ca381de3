"""The sweep on AWS: Terraform, bootstrap of the instances, IAM policies, secrets of the scrapes."""
