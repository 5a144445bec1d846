mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name        = "healthmed-test"
  cidr        = "10.20.0.0/16"
  zones       = ["sa-east-1a", "sa-east-1b", "sa-east-1c"]
  domain      = "api.healthmed.example"
  mail_domain = "healthmed.example"
  mail_from   = "Health&Med <agenda@healthmed.example>"
  send_rate   = 14
  zone_id     = "Z1"
  images      = { prefix = "111111111111.dkr.ecr.sa-east-1.amazonaws.com/healthmed", tag = "1.0.0", migrate_tag = "1.0.1" }
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
  database_ca        = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  nats               = { instance_type = "t4g.small", storage_gb = 20 }
  nats_ca            = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  admin_email        = "admin@healthmed.example"
  throttle           = { rate = 100, burst = 200, sign_in_rate = 10, sign_in_burst = 20 }
  alarm_emails       = ["operator@healthmed.example"]
  monthly_budget_usd = 600
}

run "wired" {
  assert {
    condition     = output.origin == "https://api.healthmed.example" && output.image_tag == "1.0.0"
    error_message = "The origin and the release are those asked for."
  }

  assert {
    condition     = local.environment.NATS_REPLICAS == "3" && startswith(local.environment.NATS_URL, "tls://")
    error_message = "Streams have three copies, over TLS."
  }

  # 18 GB of 20 for streams: 3.3 times as much as one may take must fit.
  assert {
    condition     = 3.3 * tonumber(local.environment.NATS_MAX_BYTES) <= 18 * pow(2, 30)
    error_message = "What the streams reserve fits the servers' volumes."
  }

  assert {
    condition     = local.services.users.environment.IDENTITY == "cognito" && local.services.notifier.environment.SEND_RATE == "14"
    error_message = "The services are told what they can't find out."
  }

  assert {
    condition     = toset(keys(output.tasks)) == toset(["roles", "migrate-users", "migrate-scheduling", "migrate-notifier"])
    error_message = "Each database has its one-shot task."
  }
}

run "no_alarm_before_the_first_release" {
  command = plan

  variables {
    serves = false
  }

  assert {
    condition     = !anytrue([for alarm in module.observability.alarms : endswith(alarm, "-tasks")])
    error_message = "What doesn't serve yet isn't missed."
  }
}

run "too_few_connections_are_refused" {
  command = plan

  variables {
    database = {
      instance_class     = "db.t4g.medium"
      storage_gb         = 20
      max_connections    = 100
      connections_a_task = 8
      backup_days        = 7
    }
  }

  expect_failures = [var.database]
}

run "a_foreign_mailbox_is_refused" {
  command = plan

  variables {
    mail_from = "Health&Med <agenda@elsewhere.example>"
  }

  expect_failures = [var.mail_from]
}

run "latest_is_no_release" {
  command = plan

  variables {
    images = { prefix = "registry/healthmed", tag = "latest", migrate_tag = "1.0.0" }
  }

  expect_failures = [var.images]
}
