# What AWS would answer and the configuration reads. Everything else is made up by terraform.

mock_data "aws_region" {
  defaults = { region = "sa-east-1" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    domain_validation_options = [{
      domain_name           = "api.healthmed.example"
      resource_record_name  = "_name.api.healthmed.example."
      resource_record_type  = "CNAME"
      resource_record_value = "_value.acm-validations.aws."
    }]
  }
}

mock_resource "aws_sesv2_email_identity" {
  defaults = { dkim_signing_attributes = { tokens = ["a", "b", "c"] } }
}

mock_resource "aws_cloudformation_stack" {
  defaults = {
    outputs = {
      ClientId  = "client"
      SecretArn = "arn:aws:secretsmanager:sa-east-1:111111111111:secret:cognito-client"
    }
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
