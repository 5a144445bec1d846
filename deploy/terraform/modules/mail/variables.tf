variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "domain" {
  description = "The domain that e-mails come from, such as healthmed.com.br."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a domain name in lower case."
  }
}

variable "zone_id" {
  description = "Route 53's zone of the domain."
  type        = string
}

variable "feedback_days" {
  description = "How long feedback waits for the notifier, and what couldn't be read for a person."
  type        = number
  default     = 14
}
