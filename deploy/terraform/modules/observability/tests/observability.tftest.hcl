mock_provider "aws" {}

variables {
  name               = "test"
  alarm_topic_arn    = "arn:aws:sns:sa-east-1:111111111111:alarms"
  cluster_name       = "test"
  services           = { users = 2, pages = 2 }
  gateway            = { api = "api", balancer = "app/test/1", target_groups = { users = "targetgroup/users/1", pages = "targetgroup/pages/1" } }
  database           = { identifier = "test", max_connections = 200, storage_gb = 20 }
  queues             = { feedback = "feedback", dead = "dead" }
  monthly_budget_usd = 600
  budget_emails      = ["operator@healthmed.example"]
}

run "somebody_hears" {
  command = plan

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.above), values(aws_cloudwatch_metric_alarm.tasks), [aws_cloudwatch_metric_alarm.database_storage]) :
      alarm.alarm_actions == toset([var.alarm_topic_arn]) && strcontains(alarm.alarm_description, "docs/operations.md#")
    ])
    error_message = "Each alarm is sent, and says where to read on."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.tasks["users"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.tasks["users"].threshold == 2
    error_message = "A service that isn't there is an alarm."
  }
}

# SES doesn't tell a rate each minute: several minutes in a row would never come together.
run "rates_are_looked_at_by_the_hour" {
  command = plan

  assert {
    condition = alltrue([
      for name in ["mail-bounces", "mail-complaints"] :
      aws_cloudwatch_metric_alarm.above[name].period == 3600 && aws_cloudwatch_metric_alarm.above[name].evaluation_periods == 1
    ])
    error_message = "Bounces and complaints by the hour."
  }
}

run "costs_are_told" {
  command = plan

  assert {
    condition = (
      aws_budgets_budget.monthly.limit_amount == "600"
      && toset([for n in aws_budgets_budget.monthly.notification : n.notification_type]) == toset(["ACTUAL", "FORECASTED"])
    )
    error_message = "Before the money is spent, and when most of it is."
  }
}

run "somebody_must_look_at_costs" {
  command = plan

  variables {
    budget_emails = []
  }

  expect_failures = [var.budget_emails]
}
