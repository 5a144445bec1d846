mock_provider "aws" {
  source = "../../mocks"
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

# As README.md has it: everything but the services, then the services.
run "first" {
  variables {
    serves = false
  }

  assert {
    condition     = output.serves == false && output.origin == "https://api.healthmed.example"
    error_message = "Nothing serves yet, at the origin asked for."
  }

  assert {
    condition     = length(output.nats.hosts) == 3 && endswith(output.nats.hosts[0], ".nats.healthmed-staging.internal")
    error_message = "Three event servers have names."
  }
}

run "release" {
  assert {
    condition     = output.serves && output.image_tag == "1.0.0"
    error_message = "The release that was asked for serves."
  }

  assert {
    condition     = output.nats == run.first.nats && output.tasks == run.first.tasks
    error_message = "What was there stays as it is."
  }
}
