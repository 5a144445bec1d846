#!/usr/bin/env bash
# release.sh ENVIRONMENT TAG: everything but the release, then its migrations, then the release. MIGRATE=false goes back
# to an earlier one: schemas are good for both (docs/operations.md).
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
environment=${1:?staging or production} tag=${2:?the release}
open_environment "$environment"

run_task() {
	local definition network cluster task code
	definition=$(terraform output -json tasks | jq -er --arg task "$1" '.[$task]')
	cluster=$(terraform output -json run_task | jq -er .cluster)
	network=$(terraform output -json run_task |
		jq -c '{awsvpcConfiguration: {subnets, securityGroups: [.security_group], assignPublicIp: "DISABLED"}}')
	task=$(aws ecs run-task --cluster "$cluster" --task-definition "$definition" --launch-type FARGATE \
		--network-configuration "$network" --started-by release --query 'tasks[0].taskArn' --output text)
	# The waiter gives up after ten minutes; a migration may take longer.
	for _ in 1 2 3 4 5; do aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$task" && break; done
	code=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].containers[0].exitCode' --output text)
	if [ "$code" != 0 ]; then
		echo "$1: exit code $code; its log group tells more. ECS says:" >&2
		aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].[stoppedReason,containers[0].reason]' --output text >&2
		exit 1
	fi
	echo "$1: done"
}

serving=$(output serves)
before=$(output image_tag)
# Runs that wait for approval can be approved in any order.
if [ "${MIGRATE:-true}" = true ] && [ "$before" != "$tag" ] && git merge-base --is-ancestor "$tag" "${before:-none}" 2>/dev/null; then
	echo "$environment serves $before, which is newer than $tag; MIGRATE=false goes back" >&2
	exit 1
fi
if [ "${MIGRATE:-true}" = true ]; then
	terraform apply -auto-approve -var "serves=${serving:-false}" -var "image_tag=${before:-$tag}" -var "migrate_image_tag=$tag"
	for task in roles migrate-users migrate-scheduling migrate-notifier; do run_task "$task"; done
fi
terraform apply -auto-approve -var "image_tag=$tag"
origin=$(output origin)
echo "$environment serves $tag at $origin"
