output "subnet_ids" {
  description = "Subnets by availability zone id."
  value       = { for zone, subnet in aws_subnet.this : zone => subnet.id }

  # Instances need the routes and rules at boot.
  depends_on = [
    aws_route.internet, aws_route_table_association.this,
    aws_vpc_security_group_egress_rule.this, aws_vpc_security_group_ingress_rule.this,
  ]
}

output "security_group_id" {
  description = "Security group of the instances."
  value       = aws_security_group.this.id
}
