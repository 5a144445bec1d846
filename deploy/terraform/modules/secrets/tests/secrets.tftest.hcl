mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name    = "test"
  secrets = { "users/nats" = "Seed", "nats/tls" = "JSON" }
}

run "empty_and_encrypted" {
  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.kms_key_id == aws_kms_key.this.arn]) && aws_kms_key.this.enable_key_rotation
    error_message = "By the environment's key, which changes by itself."
  }

  assert {
    condition     = aws_secretsmanager_secret.this["users/nats"].name == "test/users/nats" && aws_secretsmanager_secret.this["users/nats"].recovery_window_in_days == 30
    error_message = "Unless said otherwise, a deleted secret can be brought back."
  }
}

run "a_window_is_none_or_a_week" {
  command = plan

  variables {
    recovery_window_days = 3
  }

  expect_failures = [var.recovery_window_days]
}
