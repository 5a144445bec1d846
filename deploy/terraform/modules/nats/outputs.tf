output "url" {
  description = "What NATS_URL is."
  value       = join(",", [for host in sort(values(local.names)) : "tls://${host}:4222"])
}

output "hosts" {
  description = "Names that the servers' certificate must bear."
  value       = sort(values(local.names))
}

output "configuration_bucket" {
  value = aws_s3_bucket.configuration.id
}

output "instance_ids" {
  value = { for node, instance in aws_instance.node : node => instance.id }
}

output "storage_bytes" {
  description = "What streams may take on each server."
  value       = floor(0.9 * var.storage_gb) * pow(2, 30)
}
