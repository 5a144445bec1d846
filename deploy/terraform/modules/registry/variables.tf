variable "namespace" {
  description = "Begins the repositories' names."
  type        = string
}

variable "repositories" {
  description = "A repository for each image."
  type        = set(string)
}

variable "keep_images" {
  description = "So many of the newest releases stay: what serves must be among them, and what a rollback may need."
  type        = number
  default     = 200

  validation {
    condition     = var.keep_images >= 10
    error_message = "Keep at least 10 releases, or a rollback finds none."
  }
}
