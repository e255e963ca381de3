# A dedicated network in one region, with a public subnet per zone and one security group.

# Traffic is the exchange's public feed and scrapes; flow logs of it would cost more than the probes.
resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:flow logs of a public market data feed are of no use and cost more than the probes
  region               = var.region
  cidr_block           = var.cidr_block
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = var.name })
}

# The default security group allows traffic between its members; this removes all of its rules.
resource "aws_default_security_group" "this" {
  region = var.region
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "${var.name}-unused" })
}

resource "aws_internet_gateway" "this" {
  region = var.region
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_route_table" "this" {
  region = var.region
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_route" "internet" {
  region                 = var.region
  route_table_id         = aws_route_table.this.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_subnet" "this" {
  for_each = { for index, zone in var.az_ids : zone => index }

  region                  = var.region
  vpc_id                  = aws_vpc.this.id
  availability_zone_id    = each.key
  cidr_block              = cidrsubnet(var.cidr_block, 3, each.value)
  map_public_ip_on_launch = false
  tags                    = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table_association" "this" {
  for_each = aws_subnet.this

  region         = var.region
  subnet_id      = each.value.id
  route_table_id = aws_route_table.this.id
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:the instances of the probe and monitor modules use it
  region      = var.region
  name        = var.name
  description = "Latency sweep: scrapes in, exchange and packages out"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = var.name })
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = var.ingress

  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = each.value.description
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

# Addresses of the exchange and of package servers change; only the ports are fixed.
resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = { for port in var.egress_ports : tostring(port) => port }

  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "TCP ${each.key} to any address"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
  tags              = merge(var.tags, { Name = "${var.name}-to-${each.key}" })
}
