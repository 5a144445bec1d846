package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Terraform makes side by side what doesn't name one another. Where AWS needs an order that no reference tells, it is
// written down.
func TestTerraform_WaitsForWhatNoReferenceNames(t *testing.T) {
	all := modules(t)
	for _, tt := range []struct {
		module, kind, name string
		want               []string
		why                string
	}{
		{"modules/network", "output", "private_subnets", []string{"aws_route_table_association.private", "aws_vpc_endpoint.s3"},
			"what starts in a subnet reaches for packages and images at once"},
		{"modules/network", "output", "security_group_ids", []string{
			"aws_vpc_security_group_ingress_rule.this", "aws_vpc_security_group_egress_rule.this", "aws_vpc_security_group_egress_rule.internet",
		}, "what is in a group reaches for others at once"},
		{"modules/gateway", "output", "target_group_arns", []string{"aws_lb_listener_rule.this"}, "ECS refuses a target group that no listener uses"},
		{"modules/mail", "output", "identity_arn", []string{"aws_ses_domain_identity_verification.this"}, "Cognito refuses an identity that isn't verified"},
		{"modules/mail", "aws_ses_domain_identity_verification", "this", []string{"aws_route53_record.dkim"}, "SES verifies by these records"},
		{"modules/mail", "aws_sesv2_configuration_set_event_destination", "feedback", []string{"aws_sns_topic_policy.feedback"}, "SES tries whether it may publish"},
		{"modules/service", "aws_ecs_service", "this", []string{
			"aws_iam_role_policy_attachment.execution", "aws_iam_role_policy.secrets", "aws_iam_role_policy.task",
		}, "tasks start with these roles"},
	} {
		var body *hclsyntax.Body
		if tt.kind != "output" {
			body = all[tt.module].resources(tt.kind)[tt.name]
		}
		for _, b := range all[tt.module].blocks("output") {
			if tt.kind == "output" && b.Labels[0] == tt.name {
				body = b.Body
			}
		}
		if body == nil {
			t.Errorf("%s: no %s %s: has it moved?", tt.module, tt.kind, tt.name)
			continue
		}
		var got []string
		if a := body.Attributes["depends_on"]; a != nil {
			for _, traversal := range hclsyntax.Variables(a.Expr) {
				got = append(got, name(traversal, 0, 2))
			}
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
			t.Errorf("%s: %s %s (%s): want (-), got (+):\n%s", tt.module, tt.kind, tt.name, tt.why, diff)
		}
	}
}

// A deleted secret keeps its name for thirty days, unless it is said otherwise: what was destroyed couldn't be made anew.
func TestTerraform_SecretsSayHowLongTheyStay(t *testing.T) {
	secrets := 0
	for dir, m := range modules(t) {
		for name, body := range m.resources("aws_secretsmanager_secret") {
			secrets++
			if body.Attributes["recovery_window_in_days"] == nil {
				t.Errorf("%s: aws_secretsmanager_secret.%s: recovery_window_in_days", dir, name)
			}
		}
	}
	if secrets < 2 {
		t.Errorf("%d secrets: have they moved?", secrets)
	}
}
