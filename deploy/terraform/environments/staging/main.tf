# Small, and may be destroyed.

module "platform" {
  source = "../../modules/platform"

  name                 = "healthmed-staging"
  cidr                 = "10.20.0.0/16"
  zones                = ["sa-east-1a", "sa-east-1b", "sa-east-1c"]
  nat_gateway_per_zone = false

  domain      = var.domain
  mail_domain = var.mail_domain
  mail_from   = "Health&Med <agenda@${var.mail_domain}>"
  send_rate   = var.send_rate
  zone_id     = var.zone_id

  images = {
    prefix      = var.image_prefix
    tag         = var.image_tag
    migrate_tag = coalesce(var.migrate_image_tag, var.image_tag)
  }

  serves = var.serves

  sizes = {
    users      = { cpu = 256, memory = 512, min = 2, max = 3 }
    scheduling = { cpu = 256, memory = 512, min = 2, max = 3 }
    notifier   = { cpu = 256, memory = 512, min = 2, max = 3 }
    pages      = { cpu = 256, memory = 512, min = 2, max = 2 }
  }

  database = {
    instance_class     = "db.t4g.medium"
    storage_gb         = 20
    max_connections    = 200
    connections_a_task = 8
    backup_days        = 7
  }
  database_ca = var.database_ca

  nats    = { instance_type = "t4g.small", storage_gb = 20 }
  nats_ca = var.nats_ca

  admin_email     = var.admin_email
  doctor_approval = "auto"

  throttle = { rate = 100, burst = 200, sign_in_rate = 10, sign_in_burst = 20 }

  alarm_emails        = var.alarm_emails
  monthly_budget_usd  = 600
  deletion_protection = false
}
