mock_provider "aws" {}

variables {
  name                       = "test"
  domain                     = "api.healthmed.example"
  zone_id                    = "Z1"
  vpc_id                     = "vpc-1"
  subnet_ids                 = ["subnet-a", "subnet-b", "subnet-c"]
  link_security_group_id     = "sg-1"
  balancer_security_group_id = "sg-2"
  issuer                     = "https://cognito-idp.sa-east-1.amazonaws.com/sa-east-1_test"
  client_id                  = "client"
  throttle                   = { rate = 100, burst = 200, sign_in_rate = 10, sign_in_burst = 20 }
}

run "closed_unless_listed" {
  command = plan

  assert {
    condition     = aws_apigatewayv2_route.default.authorization_type == "JWT" && aws_apigatewayv2_route.default.route_key == "$default"
    error_message = "What isn't listed asks for a token."
  }

  assert {
    condition     = contains(keys(aws_apigatewayv2_route.public), "POST /v1/auth/login") && !contains(keys(aws_apigatewayv2_route.public), "POST /v1/appointments")
    error_message = "Signing in needs no token, booking does."
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.pool.jwt_configuration[0].issuer == var.issuer && aws_apigatewayv2_authorizer.pool.jwt_configuration[0].audience == toset(["client"])
    error_message = "The user pool's tokens for our client, and no others."
  }
}

run "private_behind_it" {
  command = plan

  assert {
    condition     = aws_lb.this.internal && aws_lb_listener.https.protocol == "HTTPS" && aws_apigatewayv2_api.this.disable_execute_api_endpoint
    error_message = "There is one way in."
  }

  assert {
    condition     = length(aws_lb_listener_rule.this) == length(local.rules) && alltrue([for rule in local.rules : length(rule.paths) <= 5])
    error_message = "A rule of the load balancer takes five values."
  }

  assert {
    condition     = aws_lb_target_group.this["scheduling"].health_check[0].port == "9090" && aws_lb_target_group.this["scheduling"].health_check[0].path == "/startupz"
    error_message = "The load balancer asks whether it is up on the port that isn't public."
  }
}

run "guessing_is_slow" {
  command = plan

  assert {
    condition     = contains([for settings in aws_apigatewayv2_stage.this.route_settings : settings.route_key], "POST /v1/auth/login")
    error_message = "Signing in has a limit of its own."
  }
}

run "logs_are_kept_as_long_as_the_law_asks" {
  command = plan

  variables {
    log_retention_days = 30
  }

  expect_failures = [var.log_retention_days]
}
