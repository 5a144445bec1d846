#!/usr/bin/env bash
# plan.sh ENVIRONMENT [TAG]: what would change, also into the summary of a GitHub job. It neither locks the state nor
# compares it with AWS, for which it would have to read the secrets of the databases' roles.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
open_environment "${1:?staging or production}"
tag=${2:-}
[ -n "$tag" ] || tag=$(output image_tag)
plan=$(terraform plan -no-color -lock=false -refresh=false -var "image_tag=${tag:-none}")
echo "$plan"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
	# shellcheck disable=SC2016 # Markdown, not a command
	printf '### %s\n\n```\n%s\n```\n' "$1" "$(tail -c 900000 <<<"$plan")" >>"$GITHUB_STEP_SUMMARY"
fi
