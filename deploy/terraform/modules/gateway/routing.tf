# Which service answers for a path, and what needs no token. deploy/check holds both against deploy/gateway/Caddyfile and
# the services' openapi.yaml.

locals {
  # A path, and everything under it.
  prefixes = {
    scheduling = ["/v1/appointments", "/v1/holds", "/v1/slots", "/v1/waitlist", "/v1/calendars", "/v1/me/calendar", "/docs/scheduling"]
    notifier   = ["/v1/deliveries", "/v1/dead-letters", "/v1/notification-preferences", "/docs/notifier"]
  }

  of_doctor = "^/v1/doctors/[^/]+/(availability|exceptions|slots)(/|$)"

  pages = [
    "/", "/docs", "/docs/", "/verify-email", "/reset-password", "/account.js", "/appointments/*", "/agenda/*", "/waitlist/*",
    "/settings/notifications", "/app.js",
  ]

  # A rule takes five values at most. What matches no rule is the users service's, the unknown included.
  rules = concat(
    [{ service = "scheduling", regex = [local.of_doctor], paths = [] }],
    flatten([
      for service in ["scheduling", "notifier"] : [
        for some in chunklist(local.prefixes[service], 2) : {
          service = service, regex = [], paths = flatten([for prefix in some : [prefix, "${prefix}/*"]])
        }
      ]
    ]),
    [for some in chunklist(local.pages, 5) : { service = "pages", regex = [], paths = some }],
  )

  # Everything else needs a token that the user pool issued.
  public_operations = [
    "POST /v1/patients", "POST /v1/doctors", "GET /v1/doctors", "GET /v1/doctors/{id}", "GET /v1/specialties",
    "POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/auth/logout", "POST /v1/auth/password/forgot",
    "POST /v1/auth/password/reset", "POST /v1/auth/email/verify", "GET /.well-known/jwks.json",
    "GET /v1/doctors/{id}/availability", "GET /v1/doctors/{id}/slots", "GET /v1/slots", "GET /v1/calendars/{file}",
  ]

  public_pages = [
    "GET /", "GET /docs", "GET /docs/{page+}", "GET /openapi.yaml", "GET /problems/{name}", "GET /livez", "GET /readyz",
    "GET /events", "GET /events/{page+}", "GET /schemas/{name}",
    "GET /verify-email", "GET /reset-password", "GET /account.js", "GET /appointments/{page+}", "GET /agenda/{page+}",
    "GET /waitlist/{page+}", "GET /settings/notifications", "GET /app.js",
  ]

  # Where somebody might guess passwords, or have us write e-mails.
  sign_in = [for route in local.public_operations : route if startswith(route, "POST ")]
}
