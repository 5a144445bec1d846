variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "subnets" {
  description = "By zone, three of them: the id of the subnet."
  type        = map(string)

  validation {
    condition     = length(var.subnets) == 3
    error_message = "Three zones: streams have three copies, and a quorum outlives the loss of one."
  }
}

variable "security_group_id" {
  type = string
}

variable "internal_zone" {
  description = "The private DNS zone in which the servers get names."
  type        = object({ id = string, name = string })
}

variable "kms_key_arn" {
  type = string
}

variable "tls_secret_arn" {
  description = "Secret with cert and key (PEM) of the servers."
  type        = string
}

variable "ca" {
  description = "PEM of the authority that signed the servers' certificate. Public."
  type        = string
}

variable "admin_secret_arn" {
  description = "Secret with the seeds admin and operator, for healthmed-admin."
  type        = string
}

variable "image" {
  description = "nats-server's image."
  type        = string
  default     = "public.ecr.aws/docker/library/nats:2.15.2-alpine"

  validation {
    condition     = can(regex(":[0-9]+\\.[0-9]+\\.[0-9]+", var.image))
    error_message = "Name an exact version: servers of a cluster must not differ by chance."
  }
}

variable "admin_image" {
  description = "healthmed-admin's image."
  type        = string
}

variable "instance_type" {
  description = "Of ARM64 (Graviton)."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+[0-9]+g[a-z]*\\.", var.instance_type))
    error_message = "instance_type must be an ARM64 one, such as t4g.medium or c7g.large."
  }
}

variable "storage_gb" {
  description = "Of each server's volume. Streams may take 90 % of it."
  type        = number

  validation {
    condition     = var.storage_gb >= 20
    error_message = "storage_gb must be at least 20."
  }
}

variable "storage_iops" {
  description = "Of each volume. Every acknowledged event is an fsync on two of three servers at least."
  type        = number
  default     = 3000

  validation {
    condition     = var.storage_iops >= 3000 && var.storage_iops <= 16000
    error_message = "gp3 has 3000 to 16000 IOPS."
  }
}

variable "alarm_topic_arn" {
  type = string
}

variable "log_retention_days" {
  type    = number
  default = 30
}
