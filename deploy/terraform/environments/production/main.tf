# What patients use. Nothing of it is destroyed by mistake.

module "platform" {
  source = "../../modules/platform"

  name                 = "healthmed-production"
  cidr                 = "10.10.0.0/16"
  zones                = ["sa-east-1a", "sa-east-1b", "sa-east-1c"]
  nat_gateway_per_zone = true

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
    users      = { cpu = 1024, memory = 2048, min = 2, max = 6 } # hashing passwords is Cognito's work
    scheduling = { cpu = 1024, memory = 2048, min = 3, max = 12 }
    notifier   = { cpu = 512, memory = 1024, min = 2, max = 4 }
    pages      = { cpu = 256, memory = 512, min = 2, max = 4 }
  }

  database = {
    instance_class     = "db.r7g.large"
    storage_gb         = 200
    max_connections    = 1000
    connections_a_task = 16
    backup_days        = 35
  }
  database_ca = var.database_ca

  nats    = { instance_type = "m7g.large", storage_gb = 100, storage_iops = 6000 }
  nats_ca = var.nats_ca

  admin_email     = var.admin_email
  doctor_approval = "manual"

  throttle = { rate = 2000, burst = 4000, sign_in_rate = 50, sign_in_burst = 100 }

  alarm_emails        = var.alarm_emails
  monthly_budget_usd  = 3000
  deletion_protection = true
}
