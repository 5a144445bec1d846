# shellcheck shell=bash
# Sourced by the scripts beside it: opens an environment's state. STATE_BUCKET is bootstrap's; TFVARS, if set, is the
# content of terraform.tfvars (docs: README.md, "Settings").
set -euo pipefail
export TF_INPUT=0 TF_IN_AUTOMATION=1 AWS_REGION=sa-east-1 # where everything is

open_environment() {
	cd "$(dirname "${BASH_SOURCE[0]}")/environments/$1"
	: "${STATE_BUCKET:?the bucket that bootstrap made}"
	[ -z "${TFVARS:-}" ] || printf '%s\n' "$TFVARS" >terraform.tfvars
	terraform init -backend-config="bucket=$STATE_BUCKET" >/dev/null
}

# output reads what an earlier apply left; nothing, before the first one. A state that can't be read is a fault: taken for
# an empty one, it would have a release begin as the first does, without services.
output() { terraform output -json | jq -r --arg name "$1" '.[$name] | values | .value'; }
