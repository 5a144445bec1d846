mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "sa-east-1" }
  }
}

variables {
  domain       = "api.healthmed.example"
  mail_domain  = "healthmed.example"
  zone_id      = "Z1"
  image_prefix = "111111111111.dkr.ecr.sa-east-1.amazonaws.com/healthmed"
  image_tag    = "1.0.0"
  database_ca  = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  nats_ca      = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  admin_email  = "admin@healthmed.example"
  alarm_emails = ["operator@healthmed.example"]
}

run "can_be_planned" {
  command = plan

  assert {
    condition     = output.origin == "https://api.healthmed.example" && output.image_tag == "1.0.0"
    error_message = "The origin and the release are those asked for."
  }

  assert {
    condition     = length(output.nats.hosts) == 3 && endswith(output.nats.hosts[0], ".nats.healthmed-staging.internal")
    error_message = "Three event servers have names."
  }
}
