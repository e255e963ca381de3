"""What a sweep needs of AWS: access, inventory, Terraform, tunnels, secrets and fees."""
