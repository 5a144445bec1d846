package check

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// ECS goes back to a release by itself only while its task definition is in use, and Terraform must hear of it.
func TestTerraform_AReleaseThatFailedIsTold(t *testing.T) {
	service := modules(t)["modules/service"]
	if a := service.resources("aws_ecs_task_definition")["serve"].Attributes["skip_destroy"]; a == nil || literal(t, a.Expr).False() {
		t.Error("the task definition before is taken out of use by the next: skip_destroy")
	}
	var conditions int
	for _, b := range service.resources("aws_ecs_service")["this"].Blocks {
		for _, inner := range b.Body.Blocks {
			if b.Type == "lifecycle" && inner.Type == "postcondition" {
				conditions++
			}
		}
	}
	if conditions == 0 {
		t.Error("a service that went back passes for one that came forward: it needs a postcondition")
	}
}

// Terraform writes outputs of an apply that failed half-way. What serves is told by a resource that is written last.
func TestTerraform_WhatServesIsToldLast(t *testing.T) {
	platform := modules(t)["modules/platform"]
	var services, waits []string
	for _, b := range platform.blocks("module") {
		if literal(t, b.Body.Attributes["source"].Expr).AsString() == "../service" {
			services = append(services, b.Labels[0])
		}
	}
	for _, traversal := range hclsyntax.Variables(platform.resources("terraform_data")["release"].Attributes["depends_on"].Expr) {
		waits = append(waits, name(traversal, 1, 2))
	}
	slices.Sort(services)
	slices.Sort(waits)
	if diff := cmp.Diff(services, waits); diff != "" {
		t.Errorf("terraform_data.release: services (-), waits for (+):\n%s", diff)
	}
	told := 0
	for _, b := range platform.blocks("output") {
		if b.Labels[0] == "image_tag" || b.Labels[0] == "serves" {
			told++
			for _, traversal := range hclsyntax.Variables(b.Body.Attributes["value"].Expr) {
				if got := name(traversal, 0, 2); got != "terraform_data.release" {
					t.Errorf("output %s is %s, which is written before the services are steady", b.Labels[0], got)
				}
			}
		}
	}
	if told != 2 {
		t.Errorf("%d outputs tell what serves, want image_tag and serves", told)
	}
}
