# One environment: the modules, wired.

data "aws_region" "current" {}

module "network" {
  source = "../network"

  name                 = var.name
  cidr                 = var.cidr
  zones                = var.zones
  nat_gateway_per_zone = var.nat_gateway_per_zone
}

module "secrets" {
  source = "../secrets"

  name                 = var.name
  recovery_window_days = var.deletion_protection ? 30 : 0
  secrets = {
    "users/settings"  = "JSON: KEYS_CPF, KEY_CPF_INDEX, ADMIN_PASSWORD"
    "users/nats"      = "Seed of the users service on the event server (NATS_NKEY)"
    "scheduling/nats" = "Seed of the scheduling service on the event server (NATS_NKEY)"
    "notifier/nats"   = "Seed of the notifier on the event server (NATS_NKEY)"
    "nats/tls"        = "JSON: cert and key (PEM) of the event servers"
    "nats/admin"      = "JSON: the seeds admin and operator, for healthmed-admin"
  }
}

module "database" {
  source = "../database"

  name                = var.name
  databases           = ["users", "scheduling", "notifier"]
  subnet_ids          = module.network.database_subnet_ids
  security_group_id   = module.network.security_group_ids["database"]
  kms_key_arn         = module.secrets.kms_key_arn
  ca                  = var.database_ca
  instance_class      = var.database.instance_class
  storage_gb          = var.database.storage_gb
  max_connections     = var.database.max_connections
  backup_days         = var.database.backup_days
  passwords_version   = var.database.passwords_version
  deletion_protection = var.deletion_protection
  architecture        = var.architecture
}

module "nats" {
  source = "../nats"

  name              = var.name
  subnets           = { for zone, subnet in module.network.private_subnets : zone => subnet.id }
  security_group_id = module.network.security_group_ids["nats"]
  internal_zone     = module.network.internal_zone
  kms_key_arn       = module.secrets.kms_key_arn
  ca                = var.nats_ca
  tls_secret_arn    = module.secrets.arns["nats/tls"]
  admin_secret_arn  = module.secrets.arns["nats/admin"]
  admin_image       = "${var.images.prefix}/healthmed-admin:${var.images.tag}"
  instance_type     = var.nats.instance_type
  storage_gb        = var.nats.storage_gb
  storage_iops      = var.nats.storage_iops
  alarm_topic_arn   = aws_sns_topic.alarms.arn
}

module "mail" {
  source = "../mail"

  name    = var.name
  domain  = var.mail_domain
  zone_id = var.zone_id
}

module "cognito" {
  source = "../cognito"

  name                = var.name
  kms_key_arn         = module.secrets.kms_key_arn
  mail_from           = var.mail_from
  mail_identity_arn   = module.mail.identity_arn
  deletion_protection = var.deletion_protection
}

module "gateway" {
  source = "../gateway"

  name                       = var.name
  domain                     = var.domain
  zone_id                    = var.zone_id
  vpc_id                     = module.network.vpc_id
  subnet_ids                 = local.private_subnet_ids
  link_security_group_id     = module.network.security_group_ids["link"]
  balancer_security_group_id = module.network.security_group_ids["balancer"]
  issuer                     = module.cognito.issuer
  client_id                  = module.cognito.client_id
  throttle                   = var.throttle
  deletion_protection        = var.deletion_protection
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

module "service" {
  source   = "../service"
  for_each = local.services

  name              = var.name
  service           = each.key
  cluster           = { arn = aws_ecs_cluster.this.arn, name = aws_ecs_cluster.this.name }
  subnet_ids        = local.private_subnet_ids
  security_group_id = module.network.security_group_ids["services"]
  target_group_arn  = module.gateway.target_group_arns[each.key]
  image             = "${var.images.prefix}/${each.key}:${var.images.tag}"
  migrate_image     = "${var.images.prefix}/${each.key}:${var.images.migrate_tag}"
  environment       = merge(local.environment, each.value.environment)
  secrets           = merge(local.secrets[each.key], each.value.secrets)
  secret_arns       = concat([module.database.secret_arns[each.key], module.secrets.arns["${each.key}/nats"]], each.value.secret_arns)
  kms_key_arn       = module.secrets.kms_key_arn
  permissions       = each.value.permissions
  architecture      = var.architecture
  size              = { cpu = var.sizes[each.key].cpu, memory = var.sizes[each.key].memory }
  serves            = var.serves
  replicas          = { min = var.sizes[each.key].min, max = var.sizes[each.key].max }
}

# The pages that links in e-mails open, and the list of documentation: the Caddyfile and the files of deploy/.
module "pages" {
  source = "../service"

  name               = var.name
  service            = "pages"
  cluster            = { arn = aws_ecs_cluster.this.arn, name = aws_ecs_cluster.this.name }
  subnet_ids         = local.private_subnet_ids
  security_group_id  = module.network.security_group_ids["pages"]
  target_group_arn   = module.gateway.target_group_arns["pages"]
  image              = "${var.images.prefix}/pages:${var.images.tag}"
  keeps_capabilities = true # Caddy's file asks for binding low ports
  health_command     = ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/livez"]
  kms_key_arn        = module.secrets.kms_key_arn
  architecture       = var.architecture
  size               = { cpu = var.sizes["pages"].cpu, memory = var.sizes["pages"].memory }
  serves             = var.serves
  replicas           = { min = var.sizes["pages"].min, max = var.sizes["pages"].max }
}

# What serves, which release.sh goes on from. Terraform writes outputs of an apply that failed half-way too; this it writes
# only once the services are steady.
resource "terraform_data" "release" {
  input      = { image_tag = var.images.tag, serves = var.serves }
  depends_on = [module.service, module.pages]
}

resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

module "observability" {
  source = "../observability"

  name            = var.name
  alarm_topic_arn = aws_sns_topic.alarms.arn
  cluster_name    = aws_ecs_cluster.this.name
  services        = { for service, size in var.sizes : service => size.min if var.serves }
  gateway         = module.gateway.dimensions
  database = {
    identifier      = module.database.identifier
    max_connections = var.database.max_connections
    storage_gb      = var.database.storage_gb
  }
  queues             = { feedback = module.mail.feedback_queue.name, dead = module.mail.dead_feedback_queue_name }
  monthly_budget_usd = var.monthly_budget_usd
  budget_emails      = var.alarm_emails
}
