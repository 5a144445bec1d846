# A service on Fargate: the tasks that serve, and a one-shot task that migrates its database.

locals {
  full_name = "${var.name}-${var.service}"
  migrates  = var.migrate_image != null

  container = {
    essential              = true
    user                   = var.user
    readonlyRootFilesystem = true
    environment            = [for name in sort(keys(var.environment)) : { name = name, value = var.environment[name] }]
    secrets                = [for name in sort(keys(var.secrets)) : { name = name, valueFrom = var.secrets[name] }]
    stopTimeout            = 30 # the services need 20 at most
    linuxParameters = {
      initProcessEnabled = false
      capabilities       = { drop = var.keeps_capabilities ? [] : ["ALL"] }
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = var.service
        # Rather lose lines than requests when CloudWatch is slow.
        mode            = "non-blocking"
        max-buffer-size = "25m"
      }
    }
  }
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/${var.service}"
  retention_in_days = var.log_retention_days
}

# Revisions stay when the next one comes: ECS can't go back to one that was taken out of use.
resource "aws_ecs_task_definition" "serve" {
  family                   = local.full_name
  skip_destroy             = true
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([merge(local.container, {
    name         = var.service
    image        = var.image
    portMappings = [{ containerPort = 8080, protocol = "tcp" }]
    healthCheck = {
      command     = var.health_command
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
  })])
}

resource "aws_ecs_task_definition" "migrate" {
  count = local.migrates ? 1 : 0

  family                   = "${local.full_name}-migrate"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([merge(local.container, {
    name    = "migrate"
    image   = var.migrate_image
    command = ["migrate"]
  })])
}

resource "aws_ecs_service" "this" {
  count = var.serves ? 1 : 0

  name            = var.service
  cluster         = var.cluster.arn
  task_definition = aws_ecs_task_definition.serve.arn
  desired_count   = var.replicas.min
  launch_type     = "FARGATE"

  # New tasks first, then the old ones go. What doesn't become healthy is taken back by itself.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  availability_zone_rebalancing      = "ENABLED"
  wait_for_steady_state              = true
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = var.target_group_arn
    container_name   = var.service
    container_port   = 8080
  }

  lifecycle {
    # Autoscaling says how many.
    ignore_changes = [desired_count]

    # A service that went back is steady too.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.serve.arn
      error_message = "ECS went back to the release before: the tasks of this one didn't become healthy."
    }
  }

  # Tasks start with these roles: not before they may, nor after.
  depends_on = [aws_iam_role_policy_attachment.execution, aws_iam_role_policy.secrets, aws_iam_role_policy.task]
}

resource "aws_appautoscaling_target" "this" {
  count = var.serves ? 1 : 0

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster.name}/${aws_ecs_service.this[0].name}"
  min_capacity       = var.replicas.min
  max_capacity       = var.replicas.max
}

resource "aws_appautoscaling_policy" "cpu" {
  count = var.serves ? 1 : 0

  name               = "${local.full_name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
