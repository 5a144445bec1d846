output "vpc_id" {
  value = aws_vpc.this.id
}

output "private_subnets" {
  description = "By zone: id, and the block of addresses."
  value       = { for zone, subnet in aws_subnet.private : zone => { id = subnet.id, cidr = subnet.cidr_block } }
}

output "database_subnet_ids" {
  value = [for subnet in aws_subnet.database : subnet.id]
}

output "security_group_ids" {
  description = "By who is in it: link, balancer, pages, services, database, nats, metrics."
  value       = { for who, group in aws_security_group.this : who => group.id }
}

output "internal_zone" {
  value = { id = aws_route53_zone.internal.zone_id, name = aws_route53_zone.internal.name }
}
