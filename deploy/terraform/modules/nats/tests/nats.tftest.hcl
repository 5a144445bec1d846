mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "sa-east-1" }
  }
}

variables {
  name              = "test"
  subnets           = { sa-east-1a = "subnet-a", sa-east-1b = "subnet-b", sa-east-1c = "subnet-c" }
  security_group_id = "sg-1"
  internal_zone     = { id = "Z1", name = "test.internal" }
  kms_key_arn       = "arn:aws:kms:sa-east-1:111111111111:key/1"
  tls_secret_arn    = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:tls"
  admin_secret_arn  = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:admin"
  ca                = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  admin_image       = "registry/healthmed/healthmed-admin:1.0.0"
  instance_type     = "t4g.small"
  storage_gb        = 20
  alarm_topic_arn   = "arn:aws:sns:sa-east-1:111111111111:alarms"
}

run "one_in_each_zone" {
  command = plan

  assert {
    condition     = keys(aws_instance.node) == ["a", "b", "c"] && length(distinct([for volume in aws_ebs_volume.data : volume.availability_zone])) == 3
    error_message = "A server and its volume in each zone."
  }

  assert {
    condition     = output.url == "tls://a.nats.test.internal:4222,tls://b.nats.test.internal:4222,tls://c.nats.test.internal:4222"
    error_message = "Clients are told all three, over TLS."
  }

  assert {
    condition     = alltrue([for node in aws_instance.node : node.maintenance_options[0].auto_recovery == "default" && node.metadata_options[0].http_tokens == "required"])
    error_message = "A failed host is replaced, and credentials aren't given to whoever asks."
  }

  assert {
    condition     = alltrue([for volume in aws_ebs_volume.data : volume.encrypted && volume.type == "gp3"])
    error_message = "Volumes are encrypted gp3."
  }
}

run "an_image_without_version_is_refused" {
  command = plan

  variables {
    image = "public.ecr.aws/docker/library/nats:alpine"
  }

  expect_failures = [var.image]
}
