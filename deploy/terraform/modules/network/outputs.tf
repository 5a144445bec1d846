output "vpc_id" {
  value = aws_vpc.this.id
}

output "private_subnets" {
  description = "By zone: id, and the block of addresses."
  value       = { for zone, subnet in aws_subnet.private : zone => { id = subnet.id, cidr = subnet.cidr_block } }

  # What starts in them reaches for packages and images at once: their way out must be there.
  depends_on = [aws_route_table_association.private, aws_vpc_endpoint.s3]
}

output "database_subnet_ids" {
  value = [for subnet in aws_subnet.database : subnet.id]
}

output "security_group_ids" {
  description = "By who is in it: link, balancer, pages, services, database, nats, metrics."
  value       = { for who, group in aws_security_group.this : who => group.id }

  depends_on = [
    aws_vpc_security_group_ingress_rule.this,
    aws_vpc_security_group_egress_rule.this,
    aws_vpc_security_group_egress_rule.internet,
  ]
}

output "internal_zone" {
  value = { id = aws_route53_zone.internal.zone_id, name = aws_route53_zone.internal.name }
}
