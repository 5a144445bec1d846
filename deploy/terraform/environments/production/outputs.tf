output "origin" {
  value = module.platform.origin
}

output "image_tag" {
  value = module.platform.image_tag
}

output "serves" {
  value = module.platform.serves
}

output "run_task" {
  value = module.platform.run_task
}

output "tasks" {
  value = module.platform.tasks
}

output "nats" {
  value = module.platform.nats
}

output "secrets" {
  value = module.platform.secrets
}

output "metrics_security_group" {
  value = module.platform.metrics_security_group
}
