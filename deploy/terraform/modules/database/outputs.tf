output "address" {
  value = aws_db_instance.this.address
}

output "identifier" {
  value = aws_db_instance.this.identifier
}

output "secret_arns" {
  description = "By service: the secret with password and url."
  value       = { for service, secret in aws_secretsmanager_secret.role : service => secret.arn }
}

output "roles_task" {
  description = "The one-shot task that makes databases and roles."
  value       = aws_ecs_task_definition.roles.arn
}
