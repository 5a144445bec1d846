# What AWS would answer and the configuration reads, in the form that the provider asks for: it checks ARNs where they are
# used. Everything else is made up by terraform.

mock_data "aws_region" {
  defaults = { region = "sa-east-1" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:sa-east-1:111111111111:certificate/1"
    domain_validation_options = [{
      domain_name           = "api.healthmed.example"
      resource_record_name  = "_name.api.healthmed.example."
      resource_record_type  = "CNAME"
      resource_record_value = "_value.acm-validations.aws."
    }]
  }
}

mock_resource "aws_cloudformation_stack" {
  defaults = {
    outputs = {
      ClientId  = "client"
      SecretArn = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:cognito-client"
    }
  }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:sa-east-1:111111111111:log-group:test" }
}

mock_resource "aws_cognito_user_pool" {
  defaults = {
    arn = "arn:aws:cognito-idp:sa-east-1:111111111111:userpool/sa-east-1_test"
    id  = "sa-east-1_test"
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    address  = "database.example"
    endpoint = "database.example:5432"
    master_user_secret = [{
      kms_key_id    = "arn:aws:kms:sa-east-1:111111111111:key/1"
      secret_arn    = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:master"
      secret_status = "active"
    }]
  }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:sa-east-1:111111111111:cluster/test" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:sa-east-1:111111111111:task-definition/test:1" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::111111111111:role/test" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:sa-east-1:111111111111:key/1" }
}

mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:sa-east-1:111111111111:loadbalancer/app/test/1" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:sa-east-1:111111111111:listener/app/test/1/1" }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:sa-east-1:111111111111:targetgroup/test/1" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::test" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:test" }
}

mock_resource "aws_sesv2_configuration_set" {
  defaults = { arn = "arn:aws:ses:sa-east-1:111111111111:configuration-set/test" }
}

mock_resource "aws_sesv2_email_identity" {
  defaults = {
    arn                     = "arn:aws:ses:sa-east-1:111111111111:identity/healthmed.example"
    dkim_signing_attributes = { tokens = ["a", "b", "c"] }
  }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:sa-east-1:111111111111:test" }
}

mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:sa-east-1:111111111111:test" }
}
