# Image repositories. A tag is written once: what was tested is what runs.

resource "aws_ecr_repository" "this" {
  for_each = var.repositories

  name                 = "${var.namespace}/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = var.repositories

  repository = aws_ecr_repository.this[each.key].name
  # A release is one tag, and under it an image for each architecture with what was built into it: these have no tags, are
  # counted by nobody, and stay as long as the tag.
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "The newest releases stay"
        selection    = { tagStatus = "tagged", tagPatternList = ["*"], countType = "imageCountMoreThan", countNumber = var.keep_images }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "What no release names goes"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
    ]
  })
}
