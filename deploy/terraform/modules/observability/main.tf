# What AWS sees and the services' own metrics (deploy/prometheus) don't: the edge, the managed parts, the money.

locals {
  # Everything that is one metric, one comparison and one threshold.
  alarms = merge(
    {
      "api-5xx" = {
        means     = "Over 1 % of the requests at the edge are answered with a 5xx. docs/operations.md#requestsfailing"
        namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = var.gateway.api }, statistic = "Average"
        above     = 0.01, periods = 5
      }
      "balancer-5xx" = {
        means     = "The load balancer itself answers 5xx: no task does. docs/operations.md#servicedown"
        namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = { LoadBalancer = var.gateway.balancer }, statistic = "Sum"
        above     = 10, periods = 3
      }
      "database-cpu" = {
        means     = "The database is short of CPU. docs/operations.md#bookingslow"
        namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database, statistic = "Average"
        above     = 85, periods = 10
      }
      "database-connections" = {
        means     = "Connections come near what the database admits. docs/operations.md#poolexhausted"
        namespace = "AWS/RDS", metric = "DatabaseConnections", dimensions = local.database, statistic = "Maximum"
        above     = floor(0.85 * var.database.max_connections), periods = 5
      }
      "feedback-age" = {
        means     = "Feedback of sent e-mails isn't read. docs/operations.md#feedbackfailing"
        namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = var.queues.feedback }, statistic = "Maximum"
        above     = 900, periods = 5
      }
      "feedback-dead" = {
        means     = "Feedback that couldn't be stored in ten attempts was put aside. docs/operations.md#feedbackfailing"
        namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.queues.dead }, statistic = "Maximum"
        above     = 0, periods = 1
      }
      "mail-bounces" = {
        means     = "SES reviews an account at 5 % of bounces. docs/operations.md#bounceshigh"
        namespace = "AWS/SES", metric = "Reputation.BounceRate", dimensions = {}, statistic = "Average"
        above     = 0.03, periods = 1, period = 3600
      }
      "mail-complaints" = {
        means     = "SES reviews an account at 0.1 % of complaints. docs/operations.md#bounceshigh"
        namespace = "AWS/SES", metric = "Reputation.ComplaintRate", dimensions = {}, statistic = "Average"
        above     = 0.0005, periods = 1, period = 3600
      }
    },
    {
      for service, group in var.gateway.target_groups : "${service}-unhealthy" => {
        means      = "A task of ${service} doesn't come up, or doesn't answer. docs/operations.md#servicedown"
        namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Minimum"
        dimensions = { LoadBalancer = var.gateway.balancer, TargetGroup = group }
        above      = 0, periods = 5
      }
    },
  )
  database = { DBInstanceIdentifier = var.database.identifier }
}

resource "aws_cloudwatch_metric_alarm" "above" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.means
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = try(each.value.period, 60) # SES tells a rate now and then, not every minute
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# No task at all has no metric of the load balancer either: missing data is the alarm.
resource "aws_cloudwatch_metric_alarm" "tasks" {
  for_each = var.services

  alarm_name          = "${var.name}-${each.key}-tasks"
  alarm_description   = "Fewer tasks of ${each.key} run than should. docs/operations.md#servicedown"
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = var.cluster_name, ServiceName = each.key }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "LessThanThreshold"
  threshold           = each.value
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "database_storage" {
  alarm_name          = "${var.name}-database-storage"
  alarm_description   = "A tenth of the database's storage is left; it grows by itself, up to its limit. docs/operations.md#poolexhausted"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = local.database
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 0.1 * var.database.storage_gb * pow(2, 30)
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# All of the account: give each environment an account of its own, or read it as the sum.
resource "aws_budgets_budget" "monthly" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget_emails
    }
  }
}
