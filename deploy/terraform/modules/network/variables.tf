variable "name" {
  description = "Begins the name of everything, such as healthmed-staging."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16; each zone gets a /20 for tasks, and /24s for what is public and for the database."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && endswith(var.cidr, "/16")
    error_message = "cidr must be an IPv4 /16, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Three availability zones of the region."
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == 3
    error_message = "Three different zones: NATS keeps a copy in each, and a quorum outlives the loss of one."
  }
}

variable "nat_gateway_per_zone" {
  description = "A NAT gateway in each zone (production), or one for all (cheaper, and its zone is a single point of failure)."
  type        = bool
}
