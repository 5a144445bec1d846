output "user_pool_id" {
  value = aws_cognito_user_pool.this.id
}

output "user_pool_arn" {
  value = aws_cognito_user_pool.this.arn
}

output "client_id" {
  value = aws_cloudformation_stack.client.outputs["ClientId"]
}

output "client_secret_arn" {
  description = "The secret whose value is the app client's secret."
  value       = aws_cloudformation_stack.client.outputs["SecretArn"]
}

output "issuer" {
  description = "Exact iss of the tokens."
  value       = "https://cognito-idp.${data.aws_region.current.region}.amazonaws.com/${aws_cognito_user_pool.this.id}"
}
