# What the servers read: who may do what (accounts.conf from this repository), the public keys of the services and the
# list of partners. The latter two come from healthmed-admin; no seed is among them.

resource "aws_s3_bucket" "configuration" {
  bucket_prefix = "${var.name}-nats-"
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "configuration" {
  bucket                  = aws_s3_bucket.configuration.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "configuration" {
  bucket = aws_s3_bucket.configuration.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "configuration" {
  bucket = aws_s3_bucket.configuration.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_object" "accounts" {
  bucket      = aws_s3_bucket.configuration.id
  key         = "accounts.conf"
  source      = "${path.module}/../../../nats/accounts.conf"
  source_hash = filesha256("${path.module}/../../../nats/accounts.conf")
}

resource "aws_s3_object" "ca" {
  bucket  = aws_s3_bucket.configuration.id
  key     = "tls/ca.pem"
  content = var.ca
}

resource "aws_iam_role" "node" {
  name = "${var.name}-nats"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-nats"
  role = aws_iam_role.node.name
}

# Session Manager instead of SSH, pulling healthmed-admin's image, writing logs: AWS's own policies (README.md,
# "Permissions").
resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset([
    "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
    "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy",
  ])

  role       = aws_iam_role.node.name
  policy_arn = each.key
}

resource "aws_iam_role_policy" "node" {
  name = "configuration"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = ["s3:GetObject"]
        Resource = [
          "${aws_s3_bucket.configuration.arn}/accounts.conf",
          "${aws_s3_bucket.configuration.arn}/tls/ca.pem",
          "${aws_s3_bucket.configuration.arn}/auth/keys.conf",
          "${aws_s3_bucket.configuration.arn}/auth/partners.conf",
          "${aws_s3_bucket.configuration.arn}/auth/partners.json",
        ]
      },
      {
        Effect = "Allow"
        Action = ["s3:PutObject"]
        Resource = [
          "${aws_s3_bucket.configuration.arn}/auth/partners.conf",
          "${aws_s3_bucket.configuration.arn}/auth/partners.json",
        ]
      },
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [var.tls_secret_arn, var.admin_secret_arn]
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
      },
    ]
  })
}
