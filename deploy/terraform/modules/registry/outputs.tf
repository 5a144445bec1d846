output "arns" {
  description = "By image."
  value       = { for image, repository in aws_ecr_repository.this : image => repository.arn }
}

output "prefix" {
  description = "An image is <prefix>/<name>:<tag>."
  value       = [for image, repository in aws_ecr_repository.this : trimsuffix(repository.repository_url, "/${image}")][0]
}
