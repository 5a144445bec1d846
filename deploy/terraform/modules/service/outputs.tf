output "migrate_task" {
  description = "The one-shot task that migrates, or null."
  value       = local.migrates ? aws_ecs_task_definition.migrate[0].arn : null
}

output "log_group" {
  value = aws_cloudwatch_log_group.this.name
}
