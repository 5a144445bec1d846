output "image_prefix" {
  description = "GitHub variable IMAGE_PREFIX."
  value       = module.registry.prefix
}

output "state_bucket" {
  description = "GitHub variable STATE_BUCKET."
  value       = aws_s3_bucket.state.id
}

output "roles" {
  description = "GitHub variables IMAGES_ROLE, PLAN_ROLE and DEPLOY_ROLE."
  value = {
    images = aws_iam_role.images.arn
    plan   = aws_iam_role.plan.arn
    deploy = aws_iam_role.deploy.arn
  }
}
