mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "sa-east-1" }
  }
}

variables {
  name              = "test"
  databases         = ["users", "scheduling", "notifier"]
  subnet_ids        = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_id = "sg-1"
  kms_key_arn       = "arn:aws:kms:sa-east-1:111111111111:key/1"
  ca                = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
  instance_class    = "db.t4g.medium"
  storage_gb        = 20
  max_connections   = 200
  backup_days       = 7
  architecture      = "ARM64"
}

run "private_encrypted_twofold" {
  command = plan

  assert {
    condition     = !aws_db_instance.this.publicly_accessible && aws_db_instance.this.multi_az && aws_db_instance.this.storage_encrypted
    error_message = "The database is private, in two zones and encrypted."
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password
    error_message = "RDS keeps the master's password."
  }

  assert {
    condition     = length(aws_secretsmanager_secret_version.role) == 3
    error_message = "Each service has a role."
  }
}

run "kept_when_deleted" {
  command = plan

  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "Unless said otherwise, the database is protected."
  }
}

run "made_anew" {
  command = plan

  variables {
    deletion_protection = false
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.role : secret.recovery_window_in_days == 0])
    error_message = "What was destroyed leaves no secret behind whose name can't be used again."
  }
}

run "a_week_of_backups_at_least" {
  command = plan

  variables {
    backup_days = 0
  }

  expect_failures = [var.backup_days]
}

run "an_authority_is_pem" {
  command = plan

  variables {
    ca = "rds-ca"
  }

  expect_failures = [var.ca]
}
