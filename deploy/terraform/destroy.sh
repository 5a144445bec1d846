#!/usr/bin/env bash
# destroy.sh staging: takes the environment down. Snapshots of the NATS volumes stay; images and state too.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
[ "${1:-}" = staging ] || { echo "only staging can be destroyed" >&2; exit 1; }
open_environment staging
tag=$(output image_tag)
terraform destroy -auto-approve -var "image_tag=${tag:-none}"
