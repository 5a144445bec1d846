package check

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// No statement of ours allows everything, or anybody, or all of something.
func TestTerraform_PoliciesHaveNoWildcard(t *testing.T) {
	statements := 0
	for _, m := range modules(t) {
		for _, body := range m.bodies {
			inside(body, func(object *hclsyntax.ObjectConsExpr) {
				for _, item := range object.Items {
					switch key(item) {
					case "Action", "Resource", "Principal", "actions", "resources":
						statements++
						refuseStars(t, item.ValueExpr)
					case "NotAction", "NotResource", "NotPrincipal":
						t.Errorf("%s: says what isn't meant instead of what is", item.KeyExpr.Range())
					}
				}
			})
		}
		for _, b := range m.blocks("data") {
			if b.Labels[0] == "aws_iam_policy_document" {
				t.Errorf("%s: write policies with jsonencode, which this test reads", b.DefRange())
			}
		}
	}
	if statements < 30 {
		t.Errorf("only %d found: has the form of policies changed?", statements)
	}
}

func refuseStars(t *testing.T, e hclsyntax.Expression) {
	inside(e, func(l *hclsyntax.LiteralValueExpr) {
		if l.Val.Type() == cty.String && strings.ContainsAny(l.Val.AsString(), "*?") {
			t.Errorf("%s: wildcard %q", l.Range(), l.Val.AsString())
		}
	})
}

// Nothing but the gateway has a way in from outside.
func TestTerraform_NothingIsPublic(t *testing.T) {
	want := map[string]struct{ attribute, value string }{
		"aws_db_instance": {"publicly_accessible", "false"},
		"aws_lb":          {"internal", "true"},
	}
	seen := map[string]int{}
	for dir, m := range modules(t) {
		for kind, w := range want {
			for name, body := range m.resources(kind) {
				seen[kind]++
				a := body.Attributes[w.attribute]
				if a == nil || literal(t, a.Expr).False() != (w.value == "false") {
					t.Errorf("%s: %s.%s: %s is not %s", dir, kind, name, w.attribute, w.value)
				}
			}
		}
		for name, body := range m.resources("aws_vpc_security_group_ingress_rule") {
			seen["ingress"]++
			if body.Attributes["cidr_ipv4"] != nil || body.Attributes["cidr_ipv6"] != nil || body.Attributes["referenced_security_group_id"] == nil {
				t.Errorf("%s: ingress %s: from a security group, not from addresses", dir, name)
			}
		}
		blocked := map[string]bool{}
		for _, body := range m.resources("aws_s3_bucket_public_access_block") {
			for _, setting := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
				if a := body.Attributes[setting]; a == nil || literal(t, a.Expr).False() {
					t.Errorf("%s: %s is not set", dir, setting)
				}
			}
			blocked[name(hclsyntax.Variables(body.Attributes["bucket"].Expr)[0], 1, 2)] = true
		}
		for bucket := range m.resources("aws_s3_bucket") {
			seen["bucket"]++
			if !blocked[bucket] {
				t.Errorf("%s: bucket %s may be made public", dir, bucket)
			}
		}
	}
	for _, kind := range []string{"aws_db_instance", "aws_lb", "ingress", "bucket"} {
		if seen[kind] == 0 {
			t.Errorf("no %s: has the form changed?", kind)
		}
	}
}

// public tells addresses that anybody may be given.
var public = regexp.MustCompile(`map_public_ip_on_launch|associate_public_ip_address|assign_public_ip\s*=\s*true`)

// secret tells what only secrets look like.
var secret = regexp.MustCompile(`AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|SU[A-Z2-7]{56}|(?i)(password|secret)\s*=\s*"[^"$]`)

// A secret is in no file, and none gets into the state: RDS and Cognito make theirs, the rest is write-only.
func TestTerraform_HoldsNoSecret(t *testing.T) {
	for _, path := range terraformFiles(t, ".tf", ".hcl", ".tftpl", ".sh") {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range []*regexp.Regexp{public, secret} {
			if found := pattern.Find(body); found != nil {
				t.Errorf("%s: %q", path, found)
			}
		}
	}
	managed := 0
	for dir, m := range modules(t) {
		for _, b := range m.blocks("resource") {
			switch b.Labels[0] {
			case "random_password", "tls_private_key", "aws_iam_access_key", "aws_cognito_user_pool_client":
				t.Errorf("%s: %s keeps a secret in the state", dir, b.Labels[0])
			}
			for _, attribute := range []string{"password", "secret_string", "client_secret", "master_password"} {
				if b.Body.Attributes[attribute] != nil {
					t.Errorf("%s: %s.%s: %s would be in the state", dir, b.Labels[0], b.Labels[1], attribute)
				}
			}
		}
		for name, body := range m.resources("aws_db_instance") {
			if a := body.Attributes["manage_master_user_password"]; a == nil || literal(t, a.Expr).False() {
				t.Errorf("%s: RDS doesn't keep the password of %s", dir, name)
			}
			managed++
		}
	}
	if managed == 0 {
		t.Error("no database: has the form changed?")
	}
}
