output "alarms" {
  description = "Names of the alarms."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.above : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.tasks : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.database_storage.alarm_name],
  ))
}
