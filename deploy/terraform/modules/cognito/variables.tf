variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "kms_key_arn" {
  type = string
}

variable "mail_from" {
  description = "The mailbox that codes come from."
  type        = string
}

variable "mail_identity_arn" {
  description = "The SES identity of that mailbox's domain."
  type        = string
}

variable "deletion_protection" {
  type    = bool
  default = true
}

variable "access_token_minutes" {
  type    = number
  default = 15

  validation {
    condition     = var.access_token_minutes >= 5 && var.access_token_minutes <= 60
    error_message = "access_token_minutes must be 5 to 60: a token can't be taken back before it ends."
  }
}

variable "refresh_token_days" {
  type    = number
  default = 30

  validation {
    condition     = var.refresh_token_days >= 1 && var.refresh_token_days <= 365
    error_message = "refresh_token_days must be 1 to 365."
  }
}
