# Who may talk to whom, all in one place. Each line of flows is a rule out of one group and a rule into the other.

locals {
  groups = {
    link     = "API Gateway's VPC link"
    balancer = "The private load balancer"
    pages    = "The pages' web server"
    services = "users, scheduling, notifier and their one-shot tasks"
    database = "PostgreSQL"
    nats     = "NATS servers"
    metrics  = "Whoever collects metrics, such as Prometheus"
  }

  flows = {
    "link-balancer"          = { from = "link", to = "balancer", port = 443 }
    "balancer-pages"         = { from = "balancer", to = "pages", port = 8080 }
    "balancer-services"      = { from = "balancer", to = "services", port = 8080 }
    "balancer-readiness"     = { from = "balancer", to = "services", port = 9090 }
    "services-database"      = { from = "services", to = "database", port = 5432 }
    "services-nats"          = { from = "services", to = "nats", port = 4222 }
    "nats-nats"              = { from = "nats", to = "nats", port = 6222 }
    "nats-clients"           = { from = "nats", to = "nats", port = 4222 } # healthmed-admin, on a server
    "metrics-services"       = { from = "metrics", to = "services", port = 9090 }
    "metrics-nats-monitored" = { from = "metrics", to = "nats", port = 8222 }
  }

  # AWS's APIs and image registries, over TLS.
  reach_internet = ["pages", "services", "nats", "metrics"]
}

resource "aws_security_group" "this" {
  for_each = local.groups

  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = "from ${each.value.from}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = "to ${each.value.to}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "internet" {
  for_each = toset(local.reach_internet)

  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "AWS APIs and image registries"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
