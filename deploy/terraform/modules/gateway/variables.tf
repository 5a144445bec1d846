variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "domain" {
  description = "The public origin's name, such as api.healthmed.com.br."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.){2,}[a-z]{2,}$", var.domain))
    error_message = "domain must be a host name in lower case, such as api.healthmed.com.br."
  }
}

variable "zone_id" {
  description = "Route 53's zone of the domain."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  description = "Private subnets of three zones."
  type        = list(string)
}

variable "link_security_group_id" {
  type = string
}

variable "balancer_security_group_id" {
  type = string
}

variable "issuer" {
  description = "The user pool's."
  type        = string
}

variable "client_id" {
  description = "The app client's; access tokens say it."
  type        = string
}

variable "throttle" {
  description = "Requests a second, and how many more may come at once: of all callers together, and of those who try to sign in."
  type = object({
    rate          = number
    burst         = number
    sign_in_rate  = number
    sign_in_burst = number
  })

  validation {
    condition     = var.throttle.rate > 0 && var.throttle.sign_in_rate > 0 && var.throttle.sign_in_rate <= var.throttle.rate
    error_message = "Rates must be above 0, and signing in has no more than everything."
  }
}

variable "deletion_protection" {
  type    = bool
  default = true
}

variable "log_retention_days" {
  description = "Access logs. Brazilian law asks for six months (Marco Civil, art. 15)."
  type        = number
  default     = 400

  validation {
    condition     = var.log_retention_days >= 180
    error_message = "Access logs are kept for six months at least."
  }
}
