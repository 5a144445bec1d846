variable "namespace" {
  description = "Begins the repositories' names."
  type        = string
}

variable "repositories" {
  description = "A repository for each image."
  type        = set(string)
}

variable "keep_images" {
  description = "So many of the newest images stay: the ones that a rollback may need."
  type        = number
  default     = 50

  validation {
    condition     = var.keep_images >= 10
    error_message = "Keep at least 10 images, or a rollback finds none."
  }
}
