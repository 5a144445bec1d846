variable "name" {
  description = "Begins the name of everything, such as healthmed-staging."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "name must be 3 to 20 of a-z, 0-9 and -: a target group's name has room for 32 with the service's."
  }
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string
}

variable "zones" {
  description = "Three availability zones."
  type        = list(string)
}

variable "nat_gateway_per_zone" {
  description = "One for all zones is cheaper, and ends with its zone."
  type        = bool
  default     = true
}

variable "domain" {
  description = "The public origin's name."
  type        = string
}

variable "mail_domain" {
  description = "The domain that e-mails come from."
  type        = string
}

variable "mail_from" {
  description = "The mailbox that e-mails come from, such as Health&Med <agenda@healthmed.com.br>."
  type        = string

  validation {
    condition     = endswith(trimsuffix(var.mail_from, ">"), "@${var.mail_domain}")
    error_message = "mail_from must be a mailbox of mail_domain: SES verifies no other."
  }
}

variable "send_rate" {
  description = "E-mails a second that the account may send (SES's quota)."
  type        = number

  validation {
    condition     = var.send_rate > 0
    error_message = "send_rate must be above 0."
  }
}

variable "zone_id" {
  description = "Route 53's zone of both domains."
  type        = string
}

variable "images" {
  description = "Prefix of the images, and the tag that serves; migrate_tag is the one whose migrations have run or run next."
  type        = object({ prefix = string, tag = string, migrate_tag = string })

  validation {
    condition     = alltrue([for tag in [var.images.tag, var.images.migrate_tag] : can(regex("^[0-9A-Za-z][0-9A-Za-z._-]*$", tag)) && tag != "latest"])
    error_message = "Tags are those of a build, such as a commit, and never latest."
  }
}

variable "serves" {
  description = "False for the first apply: the databases have no roles and no tables yet, and the secrets no values."
  type        = bool
  default     = true
}

variable "architecture" {
  description = "Of the tasks: ARM64 or X86_64. Images are built for both."
  type        = string
  default     = "ARM64"
}

variable "sizes" {
  description = "By service (users, scheduling, notifier, pages): CPU and memory of a task, and how many."
  type = map(object({
    cpu    = number
    memory = number
    min    = number
    max    = number
  }))

  validation {
    condition     = length(setsubtract(["users", "scheduling", "notifier", "pages"], keys(var.sizes))) == 0
    error_message = "sizes must name users, scheduling, notifier and pages."
  }
}

variable "database" {
  description = "Class and storage of the instance, its connections, those of each task, and how long backups are kept."
  type = object({
    instance_class     = string
    storage_gb         = number
    max_connections    = number
    connections_a_task = number
    backup_days        = number
    passwords_version  = optional(number, 1)
  })

  # A deployment runs twice the tasks for a while. What is left is for migrations, RDS itself and a person.
  validation {
    condition = var.database.max_connections >= 20 + 2 * var.database.connections_a_task * sum([
      for service in ["users", "scheduling", "notifier"] : var.sizes[service].max
    ])
    error_message = "max_connections must be 20 more than twice connections_a_task for all tasks that there may be."
  }
}

variable "database_ca" {
  description = "PEM of RDS's authorities of the region. Public."
  type        = string
}

variable "nats" {
  description = "Type of the servers, and their volumes."
  type = object({
    instance_type = string
    storage_gb    = number
    storage_iops  = optional(number, 3000)
  })
}

variable "nats_ca" {
  description = "PEM of the authority that signed the NATS servers' certificate. Public."
  type        = string

  validation {
    condition     = strcontains(var.nats_ca, "-----BEGIN CERTIFICATE-----")
    error_message = "nats_ca must be PEM."
  }
}

variable "admin_email" {
  description = "The first administrator."
  type        = string
}

variable "doctor_approval" {
  description = "auto, or manual: doctors wait for an administrator."
  type        = string
  default     = "manual"

  validation {
    condition     = contains(["auto", "manual"], var.doctor_approval)
    error_message = "doctor_approval must be auto or manual."
  }
}

variable "throttle" {
  description = "Requests a second at the edge."
  type = object({
    rate          = number
    burst         = number
    sign_in_rate  = number
    sign_in_burst = number
  })
}

variable "traces" {
  description = "A collector (OTLP over HTTPS on port 443: nothing else is let out), and the share of traces that are kept; null: no traces."
  type        = object({ endpoint = string, ratio = number })
  default     = null
}

variable "alarm_emails" {
  description = "Who hears of alarms and costs."
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0
    error_message = "Name somebody who hears of alarms."
  }
}

variable "monthly_budget_usd" {
  type = number
}

variable "deletion_protection" {
  description = "Of database, user pool and load balancer. False where an environment may be destroyed."
  type        = bool
  default     = true
}
