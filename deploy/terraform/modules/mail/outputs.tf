output "identity_arn" {
  description = "Of the domain, once it is verified."
  value       = aws_sesv2_email_identity.this.arn

  depends_on = [aws_ses_domain_identity_verification.this]
}

output "configuration_set" {
  value = { name = aws_sesv2_configuration_set.this.configuration_set_name, arn = aws_sesv2_configuration_set.this.arn }
}

output "feedback_queue" {
  value = { url = aws_sqs_queue.feedback.url, arn = aws_sqs_queue.feedback.arn, name = aws_sqs_queue.feedback.name }
}

output "dead_feedback_queue_name" {
  value = aws_sqs_queue.dead.name
}
