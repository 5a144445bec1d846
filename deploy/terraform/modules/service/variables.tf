variable "name" {
  description = "Begins the name of everything."
  type        = string
}

variable "service" {
  description = "users, scheduling, notifier or pages."
  type        = string
}

variable "cluster" {
  description = "The ECS cluster."
  type        = object({ arn = string, name = string })
}

variable "subnet_ids" {
  type = list(string)
}

variable "security_group_id" {
  type = string
}

variable "target_group_arn" {
  description = "Where the load balancer looks for the tasks."
  type        = string
}

variable "image" {
  description = "With its tag."
  type        = string

  validation {
    condition     = can(regex("[:@][^/]+$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image needs a tag that is written once, not latest: a rollback must find what ran before."
  }
}

variable "migrate_image" {
  description = "Image of the one-shot migration, which runs before the tasks get theirs. Null: there is nothing to migrate."
  type        = string
  default     = null
}

variable "user" {
  description = "User and group of the process."
  type        = string
  default     = "65532:65532"

  validation {
    condition     = !startswith(var.user, "0") && !startswith(var.user, "root")
    error_message = "No process runs as root."
  }
}

variable "keeps_capabilities" {
  description = "For an image whose program asks for a capability in its file, and so doesn't start without."
  type        = bool
  default     = false
}

variable "health_command" {
  description = "What the container runs to tell its health."
  type        = list(string)
  default     = ["CMD", "/app", "healthcheck"]
}

variable "environment" {
  description = "Variables of docs/configuration.md."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Variables whose value is a secret's: its ARN, or <ARN>:<key of its JSON>::."
  type        = map(string)
  default     = {}
}

variable "secret_arns" {
  description = "The secrets that these are taken from, without keys."
  type        = set(string)
  default     = []
}

variable "kms_key_arn" {
  description = "The key of the secrets."
  type        = string
}

variable "permissions" {
  description = "What the service may do in AWS."
  type = list(object({
    actions   = list(string)
    resources = list(string)
  }))
  default = []

  validation {
    condition     = !strcontains(jsonencode(var.permissions[*].actions), "*")
    error_message = "Name each action: no wildcards."
  }
}

variable "architecture" {
  description = "ARM64 or X86_64."
  type        = string

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture must be ARM64 or X86_64."
  }
}

variable "size" {
  description = "Of a task: CPU units (1024 is one) and MiB of memory, in one of Fargate's combinations."
  type        = object({ cpu = number, memory = number })

  validation {
    condition = contains(lookup({
      256  = [512, 1024, 2048]
      512  = [for gb in range(1, 5) : 1024 * gb]
      1024 = [for gb in range(2, 9) : 1024 * gb]
      2048 = [for gb in range(4, 17) : 1024 * gb]
      4096 = [for gb in range(8, 31) : 1024 * gb]
    }, tostring(var.size.cpu), []), var.size.memory)
    error_message = "size must be one of Fargate's: 256 CPU units with 512, 1024 or 2048 MiB; 512, 1024, 2048 or 4096 with whole GiB, about two to eight times as much."
  }
}

variable "replicas" {
  description = "At least two: a deployment and a failed zone take one away."
  type        = object({ min = number, max = number })

  validation {
    condition     = var.replicas.min >= 2 && var.replicas.max >= var.replicas.min
    error_message = "replicas.min must be 2 or more, and replicas.max no less."
  }
}

variable "serves" {
  description = "False before the first migration: roles, tasks and logs, but no service yet."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  type    = number
  default = 30
}
