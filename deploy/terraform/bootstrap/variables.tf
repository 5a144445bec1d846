variable "repository" {
  description = "The GitHub repository that may deploy, such as healthmed/healthmed."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.repository))
    error_message = "repository must be owner/name."
  }
}

variable "state_bucket" {
  description = "Name of the bucket that keeps Terraform's state; nobody in the world has it yet."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,62}$", var.state_bucket))
    error_message = "state_bucket must be a bucket's name, without dots."
  }
}

variable "environments" {
  description = "GitHub environments whose jobs may change this account. Each asks for a person's approval (README.md)."
  type        = set(string)
  default     = ["staging", "staging-destroy", "production"]
}
