# What each service is told and may do. Names are those of docs/configuration.md; deploy/check holds them against it.

locals {
  private_subnet_ids = [for subnet in module.network.private_subnets : subnet.id]

  # All three services.
  environment = merge(
    {
      HTTP_ADDR          = ":8080"
      OPS_ADDR           = ":9090"
      TRUSTED_PROXIES    = var.cidr # the VPC link and the load balancer
      DATABASE_CA        = var.database_ca
      DATABASE_MAX_CONNS = tostring(var.database.connections_a_task)
      NATS_URL           = module.nats.url
      NATS_CA            = var.nats_ca
      NATS_REPLICAS      = "3"
      # Three streams reserve as much, three more a tenth of it each: together 3.3 of 3.5 parts.
      NATS_MAX_BYTES = format("%d", floor(module.nats.storage_bytes / 3.5))
      AUTH_ISSUER    = module.cognito.issuer
      AUTH_CLIENT_ID = module.cognito.client_id
      AUTH_JWKS_URL  = "${module.cognito.issuer}/.well-known/jwks.json"
    },
    var.traces == null ? {} : {
      OTEL_EXPORTER_OTLP_ENDPOINT = var.traces.endpoint
      TRACE_RATIO                 = tostring(var.traces.ratio)
    },
  )

  secrets = {
    for service in ["users", "scheduling", "notifier"] : service => {
      DATABASE_URL = "${module.database.secret_arns[service]}:url::"
      NATS_NKEY    = module.secrets.arns["${service}/nats"]
    }
  }

  services = {
    users = {
      environment = {
        IDENTITY             = "cognito"
        COGNITO_USER_POOL_ID = module.cognito.user_pool_id
        COGNITO_CLIENT_ID    = module.cognito.client_id
        AWS_REGION           = data.aws_region.current.region
        DOCTOR_APPROVAL      = var.doctor_approval
        ADMIN_EMAIL          = var.admin_email
      }
      secrets = {
        COGNITO_CLIENT_SECRET = module.cognito.client_secret_arn
        KEYS_CPF              = "${module.secrets.arns["users/settings"]}:KEYS_CPF::"
        KEY_CPF_INDEX         = "${module.secrets.arns["users/settings"]}:KEY_CPF_INDEX::"
        ADMIN_PASSWORD        = "${module.secrets.arns["users/settings"]}:ADMIN_PASSWORD::"
      }
      secret_arns = [module.cognito.client_secret_arn, module.secrets.arns["users/settings"]]
      # What somebody does with their own password or token needs no permission.
      permissions = [{
        actions = [
          "cognito-idp:AdminAddUserToGroup", "cognito-idp:AdminConfirmSignUp", "cognito-idp:AdminDeleteUser", "cognito-idp:AdminGetUser",
          "cognito-idp:AdminRemoveUserFromGroup", "cognito-idp:AdminUpdateUserAttributes", "cognito-idp:AdminUserGlobalSignOut",
        ]
        resources = [module.cognito.user_pool_arn]
      }]
    }

    scheduling = {
      environment = { PUBLIC_URL = "https://${var.domain}" }
      secrets     = {}
      secret_arns = []
      permissions = []
    }

    notifier = {
      environment = {
        PUBLIC_URL            = "https://${var.domain}"
        AWS_REGION            = data.aws_region.current.region
        MAIL_FROM             = var.mail_from
        SES_CONFIGURATION_SET = module.mail.configuration_set.name
        FEEDBACK_QUEUE_URL    = module.mail.feedback_queue.url
        # ses:GetAccount, which would tell, can be allowed for everything only.
        SEND_RATE = tostring(var.send_rate)
      }
      secrets     = {}
      secret_arns = []
      permissions = [
        {
          # A message with a calendar is a raw one, whose permission is checked by its older name.
          actions   = ["ses:SendEmail", "ses:SendRawEmail"]
          resources = [module.mail.identity_arn, module.mail.configuration_set.arn]
        },
        {
          actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
          resources = [module.mail.feedback_queue.arn]
        },
      ]
    }
  }
}
