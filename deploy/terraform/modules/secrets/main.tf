# The key of the environment, and its secrets without their values: those never pass through Terraform.

# Its policy is AWS's default: the account's IAM policies say who may use it, and each of those names this key.
resource "aws_kms_key" "this" {
  description             = "${var.name}: secrets, database, streams"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = { Name = var.name }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_secretsmanager_secret" "this" {
  for_each = var.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.recovery_window_days
}
