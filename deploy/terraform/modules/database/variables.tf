variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "databases" {
  description = "Services that get a database and a role of their own, named like them."
  type        = set(string)

  validation {
    condition     = alltrue([for database in var.databases : can(regex("^[a-z]+$", database))])
    error_message = "Names of databases are lower-case letters."
  }
}

variable "subnet_ids" {
  description = "Subnets of three zones."
  type        = list(string)
}

variable "security_group_id" {
  description = "The group that admits the services."
  type        = string
}

variable "kms_key_arn" {
  description = "Encrypts storage, logs of statements and secrets."
  type        = string
}

variable "ca" {
  description = "PEM of the CAs that sign RDS's certificates in this region. Public: README.md says where it is."
  type        = string

  validation {
    condition     = strcontains(var.ca, "-----BEGIN CERTIFICATE-----")
    error_message = "ca must be PEM."
  }
}

variable "engine_version" {
  description = "Major version of PostgreSQL; minor ones are applied in the maintenance window."
  type        = string
  default     = "18"
}

variable "instance_class" {
  type = string

  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "instance_class is one of RDS's, such as db.t4g.medium."
  }
}

variable "storage_gb" {
  description = "At first; it grows by itself up to ten times."
  type        = number

  validation {
    condition     = var.storage_gb >= 20
    error_message = "gp3 storage begins at 20 GB."
  }
}

variable "max_connections" {
  description = "Of all services together, the tasks that a deployment starts included."
  type        = number

  validation {
    condition     = var.max_connections >= 50 && var.max_connections <= 5000
    error_message = "max_connections must be 50 to 5000."
  }
}

variable "backup_days" {
  description = "Any second of so many days can be restored."
  type        = number

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "backup_days must be 7 to 35."
  }
}

variable "deletion_protection" {
  description = "Of the instance; and the roles' secrets can be brought back for thirty days."
  type        = bool
  default     = true
}

variable "passwords_version" {
  description = "Raise it to give every role a new password, then run the roles task and deploy the services anew."
  type        = number
  default     = 1
}

variable "log_retention_days" {
  type    = number
  default = 30
}

variable "roles_image" {
  description = "Image with psql, for the task that makes databases and roles."
  type        = string
  default     = "public.ecr.aws/docker/library/postgres:18"
}

variable "architecture" {
  description = "ARM64 or X86_64, of the task."
  type        = string
}
