mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "sa-east-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111111111111:role/test" }
  }
}

variables {
  name              = "test"
  service           = "scheduling"
  cluster           = { arn = "arn:aws:ecs:sa-east-1:111111111111:cluster/test", name = "test" }
  subnet_ids        = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_id = "sg-1"
  target_group_arn  = "arn:aws:elasticloadbalancing:sa-east-1:111111111111:targetgroup/test/1"
  image             = "registry/healthmed/scheduling:1.0.0"
  migrate_image     = "registry/healthmed/scheduling:1.0.1"
  environment       = { HTTP_ADDR = ":8080" }
  secrets           = { DATABASE_URL = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:test:url::" }
  secret_arns       = ["arn:aws:secretsmanager:sa-east-1:111111111111:secret:test"]
  kms_key_arn       = "arn:aws:kms:sa-east-1:111111111111:key/1"
  architecture      = "ARM64"
  size              = { cpu = 256, memory = 512 }
  replicas          = { min = 2, max = 4 }
}

run "a_container_that_can_do_little" {
  command = plan

  assert {
    condition = alltrue([
      for definition in [aws_ecs_task_definition.serve, aws_ecs_task_definition.migrate[0]] :
      jsondecode(definition.container_definitions)[0].readonlyRootFilesystem
      && jsondecode(definition.container_definitions)[0].user == "65532:65532"
      && jsondecode(definition.container_definitions)[0].linuxParameters.capabilities.drop[0] == "ALL"
    ])
    error_message = "Read-only, as nobody, without capabilities."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.serve.container_definitions)[0].healthCheck.command == ["CMD", "/app", "healthcheck"]
    error_message = "The container tells its health as the image does."
  }

  assert {
    condition     = !strcontains(aws_ecs_task_definition.serve.container_definitions, "postgres://")
    error_message = "Secrets are named, not written."
  }
}

run "a_deployment_that_goes_back" {
  command = plan

  assert {
    condition     = aws_ecs_service.this[0].deployment_circuit_breaker[0].enable && aws_ecs_service.this[0].deployment_circuit_breaker[0].rollback
    error_message = "A release that doesn't become healthy is taken back."
  }

  assert {
    condition     = aws_ecs_service.this[0].deployment_minimum_healthy_percent == 100 && !aws_ecs_service.this[0].network_configuration[0].assign_public_ip
    error_message = "Nothing is taken away before the new one is ready, and nothing is public."
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 2 && aws_appautoscaling_target.this[0].max_capacity == 4
    error_message = "Autoscaling keeps between the two."
  }
}

run "migration_runs_its_own_release" {
  command = plan

  assert {
    condition     = jsondecode(aws_ecs_task_definition.migrate[0].container_definitions)[0].image == "registry/healthmed/scheduling:1.0.1"
    error_message = "Migrations come from the release that comes."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.migrate[0].container_definitions)[0].command == ["migrate"]
    error_message = "The one-shot task migrates."
  }
}

run "without_database_without_migration" {
  command = plan

  variables {
    migrate_image = null
  }

  assert {
    condition     = length(aws_ecs_task_definition.migrate) == 0 && output.migrate_task == null
    error_message = "There is nothing to migrate."
  }
}

run "no_service_before_the_first_migration" {
  command = plan

  variables {
    serves = false
  }

  assert {
    condition     = length(aws_ecs_service.this) == 0 && length(aws_ecs_task_definition.migrate) == 1
    error_message = "It can be migrated before it serves."
  }
}

run "latest_is_no_release" {
  command = plan

  variables {
    image = "registry/healthmed/scheduling:latest"
  }

  expect_failures = [var.image]
}

run "root_is_refused" {
  command = plan

  variables {
    user = "0:0"
  }

  expect_failures = [var.user]
}

run "a_size_that_fargate_has" {
  command = plan

  variables {
    size = { cpu = 4096, memory = 30720 }
  }

  assert {
    condition     = aws_ecs_task_definition.serve.memory == "30720"
    error_message = "The largest of four CPUs is 30 GiB."
  }
}

run "a_size_that_fargate_lacks_is_refused" {
  command = plan

  variables {
    size = { cpu = 256, memory = 1536 }
  }

  expect_failures = [var.size]
}

run "one_replica_is_refused" {
  command = plan

  variables {
    replicas = { min = 1, max = 1 }
  }

  expect_failures = [var.replicas]
}

run "wildcards_are_refused" {
  command = plan

  variables {
    permissions = [{ actions = ["sqs:*"], resources = ["arn:aws:sqs:sa-east-1:111111111111:test"] }]
  }

  expect_failures = [var.permissions]
}
