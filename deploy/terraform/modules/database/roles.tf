# A role for each service. Its password is made during apply, goes to Secrets Manager and into no state; the one-shot
# task "roles" gives it to PostgreSQL (roles.sh). Run the task after the first apply, and whenever passwords_version rose.

ephemeral "random_password" "role" {
  for_each = var.databases

  length  = 40
  special = false # it stands in a URL
}

resource "aws_secretsmanager_secret" "role" {
  for_each = var.databases

  name                    = "${var.name}/${each.key}/database"
  description             = "The role of ${each.key}: password, and url (DATABASE_URL)"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0 # the names are free again at once where it may be destroyed
}

resource "aws_secretsmanager_secret_version" "role" {
  for_each = var.databases

  secret_id = aws_secretsmanager_secret.role[each.key].id
  secret_string_wo = jsonencode({
    password = ephemeral.random_password.role[each.key].result
    url = join("", [
      "postgres://${each.key}:${ephemeral.random_password.role[each.key].result}",
      "@${aws_db_instance.this.endpoint}/${each.key}?sslmode=verify-full",
    ])
  })
  secret_string_wo_version = var.passwords_version
}

locals {
  master_secret_arn = aws_db_instance.this.master_user_secret[0].secret_arn
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "roles" {
  name              = "/${var.name}/database-roles"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "roles" {
  name = "${var.name}-database-roles"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
}

# Pulling images and writing logs: AWS's own policy (README.md, "Permissions").
resource "aws_iam_role_policy_attachment" "roles" {
  role       = aws_iam_role.roles.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "roles" {
  name = "secrets"
  role = aws_iam_role.roles.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = concat([local.master_secret_arn], [for secret in aws_secretsmanager_secret.role : secret.arn])
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
      },
    ]
  })
}

resource "aws_ecs_task_definition" "roles" {
  family                   = "${var.name}-database-roles"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.roles.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([{
    name       = "roles"
    image      = var.roles_image
    essential  = true
    user       = "999:999" # the image's postgres
    entryPoint = ["bash", "-c"]
    command    = [file("${path.module}/roles.sh")]
    # psql reads the authorities from a file: the one thing that is written.
    readonlyRootFilesystem = false

    environment = [
      { name = "PGHOST", value = aws_db_instance.this.address },
      { name = "PGUSER", value = aws_db_instance.this.username },
      { name = "DATABASES", value = join(" ", sort(tolist(var.databases))) },
      { name = "DATABASE_CA", value = var.ca },
    ]
    secrets = concat(
      [{ name = "PGPASSWORD", valueFrom = "${local.master_secret_arn}:password::" }],
      [for database, secret in aws_secretsmanager_secret.role : {
        name = "${upper(database)}_PASSWORD", valueFrom = "${secret.arn}:password::"
      }],
    )

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.roles.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = "roles"
      }
    }
  }])
}
