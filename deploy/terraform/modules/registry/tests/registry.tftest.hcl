mock_provider "aws" {}

variables {
  namespace    = "test"
  repositories = ["users", "pages"]
}

run "a_tag_is_written_once" {
  command = plan

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "What was tested is what runs."
  }

  assert {
    condition = alltrue([
      for policy in aws_ecr_lifecycle_policy.this :
      [for rule in jsondecode(policy.policy).rules : rule.selection.tagStatus if rule.selection.countType == "imageCountMoreThan"] == ["tagged"]
    ])
    error_message = "Releases are counted, not the images that they are made of."
  }
}

run "a_rollback_needs_images" {
  command = plan

  variables {
    keep_images = 3
  }

  expect_failures = [var.keep_images]
}
