mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name              = "test"
  kms_key_arn       = "arn:aws:kms:sa-east-1:111111111111:key/1"
  mail_from         = "Health&Med <agenda@healthmed.example>"
  mail_identity_arn = "arn:aws:ses:sa-east-1:111111111111:identity/healthmed.example"
}

run "as_the_users_service_expects" {
  assert {
    condition     = toset(keys(aws_cognito_user_group.this)) == toset(["patients", "doctors", "admins"])
    error_message = "The three roles are groups."
  }

  assert {
    condition     = aws_cognito_user_pool.this.username_attributes == toset(["email"]) && aws_cognito_user_pool.this.deletion_protection == "ACTIVE"
    error_message = "People sign in by e-mail, and unless said otherwise the pool is protected."
  }

  assert {
    condition     = output.issuer == "https://cognito-idp.sa-east-1.amazonaws.com/${aws_cognito_user_pool.this.id}" && output.client_id == "client"
    error_message = "Tokens are those of this pool and client."
  }
}

run "a_client_with_a_secret" {
  assert {
    condition = (
      jsondecode(aws_cloudformation_stack.client.template_body).Resources.Client.Properties.GenerateSecret
      && jsondecode(aws_cloudformation_stack.client.template_body).Resources.Client.Properties.ExplicitAuthFlows == ["ALLOW_USER_PASSWORD_AUTH"]
      && jsondecode(aws_cloudformation_stack.client.template_body).Resources.Client.Properties.RefreshTokenRotation.Feature == "ENABLED"
    )
    error_message = "Only who has the secret signs people in, and a refresh token is good once."
  }
}

run "long_tokens_are_refused" {
  command = plan

  variables {
    access_token_minutes = 600
  }

  expect_failures = [var.access_token_minutes]
}
