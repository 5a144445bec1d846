variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "secrets" {
  description = "What each secret holds, by its name. Values are put there by hand (README.md), never by Terraform."
  type        = map(string)
}

variable "recovery_window_days" {
  description = "For how long a deleted secret can be brought back; 0 deletes at once, so that a name can be used again."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days == 0 || (var.recovery_window_days >= 7 && var.recovery_window_days <= 30)
    error_message = "recovery_window_days must be 0, or 7 to 30."
  }
}
