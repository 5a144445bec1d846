#!/usr/bin/env bash
# Formatting, validation and tests of what is in this folder, by terraform or tofu. `terraform test` mocks AWS, but takes
# the provider's schema, so the provider must be had. Where something can't be run, this says so and goes on; in
# continuous integration (CI is set) it fails.
set -euo pipefail
cd "$(dirname "$0")"

not_run() {
	echo "terraform: NOT RUN: $*" >&2
	[ -z "${CI:-}" ] || exit 1
	exit 0
}

tool=$(command -v terraform || command -v tofu) || not_run "neither terraform nor tofu is on this machine"
echo "terraform: $("$tool" version 2>/dev/null | head -n 1)"

"$tool" fmt -check -diff -recursive
echo "terraform: formatted"

# The providers are fetched once. What init writes into a folder that has no lock file yet is not for keeping: it would
# know the checksums of this machine alone.
temporary=$(mktemp -d)
export TF_IN_AUTOMATION=1 TF_DATA_DIR="$temporary/data" TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE=1
export TF_PLUGIN_CACHE_DIR="${TF_PLUGIN_CACHE_DIR:-$temporary/plugins}"
mkdir -p "$TF_PLUGIN_CACHE_DIR"
log=$temporary/log unlocked=
trap 'rm -rf "$temporary"; [ -z "$unlocked" ] || rm -f "$unlocked"' EXIT
for folder in bootstrap environments/* modules/*; do
	rm -rf "$TF_DATA_DIR"
	[ -e "$folder/.terraform.lock.hcl" ] || unlocked=$folder/.terraform.lock.hcl
	if ! "$tool" -chdir="$folder" init -backend=false -input=false -no-color >"$log" 2>&1; then
		cat "$log" >&2
		grep -qiE 'could not connect|failed to request|no such host|i/o timeout|deadline exceeded|connection refused' "$log" || exit 1
		not_run "validate and test: the providers can't be had here"
	fi
	"$tool" -chdir="$folder" validate -no-color >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	if [ -d "$folder/tests" ]; then
		"$tool" -chdir="$folder" test -no-color >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
		echo "terraform: $folder: valid; $(tail -n 1 "$log")"
	else
		echo "terraform: $folder: valid"
	fi
	[ -z "$unlocked" ] || rm -f "$unlocked"
	unlocked=
done
