package web

import (
	"fmt"
	"slices"
	"strings"
)

// Rule finds the faults of a JSON body that no schema can say, such as an end before its start. It is asked when a
// request has other faults, so that the caller hears of all of them at once; a handler that is reached checks its
// rules itself. It gets the body as sent, which may break the schema anywhere, and keeps silent about what it cannot
// read. What it says of a place that is already known to be faulty is left out.
type Rule func(body []byte) []Fault

func addRules(operations []*operation, rules map[string]Rule) error {
	found := 0
	for _, op := range operations {
		if rule, ok := rules[op.method+" "+op.route]; ok && op.body != nil {
			op.rule = rule
			found++
		}
	}
	if found != len(rules) {
		return fmt.Errorf("web: %d of %d rules belong to no operation with a body", len(rules)-found, len(rules))
	}
	return nil
}

// withRule adds what the rule finds at places that have no fault yet.
func withRule(faults []Fault, rule Rule, body []byte) []Fault {
	known := faults
	for _, f := range rule(body) {
		covered := func(k Fault) bool {
			return k.Pointer != "" && (f.Pointer == k.Pointer || strings.HasPrefix(f.Pointer, k.Pointer+"/"))
		}
		if len(faults) < maxFaults && !slices.ContainsFunc(known, covered) {
			faults = append(faults, f)
		}
	}
	return faults
}
