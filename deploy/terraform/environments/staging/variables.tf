# What differs between organisations. Sizes are in main.tf. Set these as TF_VAR_…, or in terraform.tfvars, which git
# ignores; none is a secret.

variable "domain" {
  description = "The public origin's name, such as api.healthmed.com.br."
  type        = string
}

variable "mail_domain" {
  description = "The domain that e-mails come from, such as healthmed.com.br."
  type        = string
}

variable "zone_id" {
  description = "Route 53's zone of both."
  type        = string
}

variable "image_prefix" {
  description = "Output image_prefix of bootstrap."
  type        = string
}

variable "image_tag" {
  description = "The release that serves."
  type        = string
}

variable "migrate_image_tag" {
  description = "The release whose migrations run next; empty is image_tag."
  type        = string
  default     = ""
}

variable "serves" {
  description = "False for the first apply: see README.md."
  type        = bool
  default     = true
}

variable "database_ca" {
  description = "PEM of RDS's authorities in sa-east-1."
  type        = string
}

variable "nats_ca" {
  description = "PEM of the authority of the NATS servers."
  type        = string
}

variable "admin_email" {
  description = "The first administrator."
  type        = string
}

variable "alarm_emails" {
  description = "Who hears of alarms and costs."
  type        = list(string)
}

variable "send_rate" {
  description = "E-mails a second that SES lets the account send; 1 in its sandbox."
  type        = number
  default     = 1
}
