# The user pool as services/users expects it (its package identity/cognito says how).

data "aws_region" "current" {}

resource "aws_cognito_user_pool" "this" {
  name                     = var.name
  deletion_protection      = var.deletion_protection ? "ACTIVE" : "INACTIVE"
  username_attributes      = ["email"]
  auto_verified_attributes = ["email"]
  mfa_configuration        = "OFF"

  username_configuration {
    case_sensitive = false
  }

  # The operator's policy for passwords; docs: POST /v1/patients.
  password_policy {
    minimum_length                   = 8
    require_lowercase                = true
    require_uppercase                = true
    require_numbers                  = true
    require_symbols                  = true
    temporary_password_validity_days = 7
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }

  # A new address counts once it is confirmed.
  user_attribute_update_settings {
    attributes_require_verification_before_update = ["email"]
  }

  email_configuration {
    email_sending_account = "DEVELOPER"
    from_email_address    = var.mail_from
    source_arn            = var.mail_identity_arn
  }

  verification_message_template {
    default_email_option = "CONFIRM_WITH_CODE"
    email_subject        = "Seu código Health&Med"
    email_message        = "Seu código é {####}. Se você não o pediu, ignore esta mensagem."
  }
}

resource "aws_cognito_user_group" "this" {
  for_each = {
    patients = "Patients"
    doctors  = "Doctors"
    admins   = "Administrators"
  }

  name         = each.key
  description  = each.value
  user_pool_id = aws_cognito_user_pool.this.id
}

# The app client by CloudFormation: as a resource of its own its secret would be in Terraform's state. Here it goes from
# Cognito to Secrets Manager, and nobody sees it.
resource "aws_cloudformation_stack" "client" {
  name = "${var.name}-cognito-client"
  template_body = jsonencode({
    Resources = {
      Client = {
        Type = "AWS::Cognito::UserPoolClient"
        Properties = {
          ClientName                 = var.name
          UserPoolId                 = aws_cognito_user_pool.this.id
          GenerateSecret             = true
          ExplicitAuthFlows          = ["ALLOW_USER_PASSWORD_AUTH"]
          PreventUserExistenceErrors = "ENABLED"
          EnableTokenRevocation      = true
          AccessTokenValidity        = var.access_token_minutes
          IdTokenValidity            = var.access_token_minutes
          RefreshTokenValidity       = var.refresh_token_days
          TokenValidityUnits         = { AccessToken = "minutes", IdToken = "minutes", RefreshToken = "days" }
          RefreshTokenRotation       = { Feature = "ENABLED", RetryGracePeriodSeconds = 0 }
        }
      }
      Secret = {
        Type = "AWS::SecretsManager::Secret"
        Properties = {
          Name         = "${var.name}/users/cognito-client"
          Description  = "The app client's secret (COGNITO_CLIENT_SECRET)"
          KmsKeyId     = var.kms_key_arn
          SecretString = { "Fn::GetAtt" = ["Client", "ClientSecret"] }
        }
      }
    }
    Outputs = {
      ClientId  = { Value = { Ref = "Client" } }
      SecretArn = { Value = { Ref = "Secret" } }
    }
  })
}
