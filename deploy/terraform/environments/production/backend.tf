# State is kept in the bucket that bootstrap makes, encrypted, every version of it; the lock is a file beside it.
# The bucket's name comes on the command line: terraform init -backend-config=bucket=<name>.
terraform {
  backend "s3" {
    key          = "production/terraform.tfstate"
    region       = "sa-east-1"
    encrypt      = true
    use_lockfile = true
  }
}
