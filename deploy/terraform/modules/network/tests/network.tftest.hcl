mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "sa-east-1" }
  }
}

variables {
  name                 = "test"
  cidr                 = "10.20.0.0/16"
  zones                = ["sa-east-1a", "sa-east-1b", "sa-east-1c"]
  nat_gateway_per_zone = true
}

run "three_zones" {
  command = plan

  assert {
    condition = length(distinct(concat(
      [for subnet in aws_subnet.private : subnet.cidr_block],
      [for subnet in aws_subnet.public : subnet.cidr_block],
      [for subnet in aws_subnet.database : subnet.cidr_block],
    ))) == 9
    error_message = "Each zone has three subnets of its own."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "Each zone has its way out."
  }

  assert {
    condition     = alltrue([for zone in ["sa-east-1a", "sa-east-1b", "sa-east-1c"] : aws_subnet.private[zone].availability_zone == zone])
    error_message = "A subnet is in its zone."
  }
}

run "one_way_out" {
  command = plan

  variables {
    nat_gateway_per_zone = false
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["sa-east-1a"] && length(aws_route_table.private) == 3
    error_message = "One NAT gateway serves three zones."
  }
}

run "only_the_listed_flows" {
  command = plan

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.this : rule.from_port == rule.to_port && rule.ip_protocol == "tcp"])
    error_message = "A rule opens one port."
  }

  assert {
    condition     = !contains(local.reach_internet, "database") && !contains(local.reach_internet, "balancer")
    error_message = "The database and the load balancer have no business outside."
  }
}

run "two_zones_are_refused" {
  command = plan

  variables {
    zones = ["sa-east-1a", "sa-east-1b"]
  }

  expect_failures = [var.zones]
}

run "a_small_network_is_refused" {
  command = plan

  variables {
    cidr = "10.20.0.0/24"
  }

  expect_failures = [var.cidr]
}
