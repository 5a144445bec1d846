# GitHub's jobs get credentials for an hour by saying who they are (OIDC): no key is stored anywhere. Who a job is depends on
# how it was started, and the trust names that exactly.

locals {
  issuer = "token.actions.githubusercontent.com"
  trust = {
    for role, subjects in {
      images = ["repo:${var.repository}:ref:refs/heads/main"]
      plan   = ["repo:${var.repository}:pull_request", "repo:${var.repository}:ref:refs/heads/main"]
      deploy = [for environment in var.environments : "repo:${var.repository}:environment:${environment}"]
      } : role => jsonencode({
        Version = "2012-10-17"
        Statement = [{
          Effect    = "Allow"
          Action    = "sts:AssumeRoleWithWebIdentity"
          Principal = { Federated = aws_iam_openid_connect_provider.github.arn }
          Condition = {
            StringEquals = {
              "${local.issuer}:aud" = "sts.amazonaws.com"
              "${local.issuer}:sub" = subjects
            }
          }
        }]
    })
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

# Pushes images, from main alone.
resource "aws_iam_role" "images" {
  name               = "healthmed-images"
  assume_role_policy = local.trust["images"]
}

# The registry's token can be allowed for everything only; AWS's policy does, and lets pull besides.
resource "aws_iam_role_policy_attachment" "images" {
  role       = aws_iam_role.images.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
}

resource "aws_iam_role_policy" "images" {
  name = "push"
  role = aws_iam_role.images.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
      ]
      Resource = values(module.registry.arns)
    }]
  })
}

# Plans for pull requests and releases: reads what exists, but no secret's value.
resource "aws_iam_role" "plan" {
  name               = "healthmed-plan"
  assume_role_policy = local.trust["plan"]
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.plan.name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

# Applies and destroys. Whoever makes roles can give themselves anything, so these policies aren't what protects the
# account: the trust is, which needs a job of an environment that a person has approved.
resource "aws_iam_role" "deploy" {
  name                 = "healthmed-deploy"
  assume_role_policy   = local.trust["deploy"]
  max_session_duration = 7200 # a database takes its time
}

resource "aws_iam_role_policy_attachment" "deploy" {
  for_each = toset([
    "arn:aws:iam::aws:policy/PowerUserAccess",
    "arn:aws:iam::aws:policy/IAMFullAccess",
  ])

  role       = aws_iam_role.deploy.name
  policy_arn = each.key
}
