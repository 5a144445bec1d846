output "origin" {
  value = "https://${var.domain}"
}

output "target_group_arns" {
  description = "By service."
  value       = { for service, group in aws_lb_target_group.this : service => group.arn }

  # ECS refuses a target group that no listener uses.
  depends_on = [aws_lb_listener_rule.this]
}

output "dimensions" {
  description = "Of CloudWatch's metrics: the API, the load balancer, and by service the target group."
  value = {
    api           = aws_apigatewayv2_api.this.id
    balancer      = aws_lb.this.arn_suffix
    target_groups = { for service, group in aws_lb_target_group.this : service => group.arn_suffix }
  }
}
