// Package check tests what is deployed but is no Go program: alert rules, dashboards, Terraform and GitHub workflows; its
// folder containers what an engine would run. It holds nothing else; its dependencies reach no program.
package check
