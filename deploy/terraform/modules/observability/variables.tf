variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "alarm_topic_arn" {
  type = string
}

variable "cluster_name" {
  type = string
}

variable "services" {
  description = "By service: the least tasks that should run. None before the first release."
  type        = map(number)
}

variable "gateway" {
  description = "What the gateway's metrics are found by."
  type        = object({ api = string, balancer = string, target_groups = map(string) })
}

variable "database" {
  description = "The instance, the connections that it admits and its storage at first."
  type        = object({ identifier = string, max_connections = number, storage_gb = number })
}

variable "queues" {
  description = "Names of the queue of feedback and of its dead letters."
  type        = object({ feedback = string, dead = string })
}

variable "monthly_budget_usd" {
  type = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }
}

variable "budget_emails" {
  description = "Who hears that the month's costs come near the budget."
  type        = list(string)

  validation {
    condition     = length(var.budget_emails) > 0
    error_message = "Name somebody who looks at the costs."
  }
}
