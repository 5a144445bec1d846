output "origin" {
  description = "The public origin."
  value       = module.gateway.origin
}

output "image_tag" {
  description = "The release that serves."
  value       = terraform_data.release.output.image_tag
}

output "serves" {
  description = "Whether anything does yet."
  value       = terraform_data.release.output.serves
}

output "run_task" {
  description = "What a one-shot task needs to run: cluster, subnets, security group."
  value = {
    cluster        = aws_ecs_cluster.this.name
    subnets        = local.private_subnet_ids
    security_group = module.network.security_group_ids["services"]
  }
}

output "tasks" {
  description = "The one-shot tasks: roles, and each service's migration."
  value = merge(
    { roles = module.database.roles_task },
    { for name, service in module.service : "migrate-${name}" => service.migrate_task },
  )
}

output "nats" {
  description = "Names that the servers' certificate must bear, the bucket of their configuration, and the instances."
  value = {
    hosts     = module.nats.hosts
    bucket    = module.nats.configuration_bucket
    instances = module.nats.instance_ids
  }
}

output "secrets" {
  description = "Names of the secrets that are filled by hand."
  value       = keys(module.secrets.arns)
}

output "metrics_security_group" {
  description = "Put Prometheus into it: the services' ops ports and NATS's monitoring admit it."
  value       = module.network.security_group_ids["metrics"]
}
