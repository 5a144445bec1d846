package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkHandlers makes sure that what the document promises is served, and that Fiber leads each path to the operation
// that it was checked for: Fiber takes the first handler that fits, the router here the most literal one.
func (a *App) checkHandlers() error {
	position := make(map[string]int) // of "GET /v1/x/:id" in Fiber's stack
	for _, routes := range a.Fiber.Stack() {
		for i, route := range routes {
			if key := route.Method + " " + route.Path; position[key] == 0 {
				position[key] = i + 1
			}
		}
	}
	where := func(op *operation) int {
		return position[op.method+" "+strings.NewReplacer("{", ":", "}", "").Replace(op.route)]
	}
	var faults []error
	for i, op := range a.operations {
		if where(op) == 0 {
			faults = append(faults, fmt.Errorf("web: %s %s is documented but has no handler", op.method, op.route))
			continue
		}
		for _, other := range a.operations[:i] {
			if other.method != op.method || where(other) == 0 {
				continue
			}
			first, second := other, op
			if where(op) < where(other) {
				first, second = op, other
			}
			path, common := commonPath(op.route, other.route)
			if !common {
				continue
			}
			if found, _ := a.router.find(path, nil); found != nil && found.ops[op.method] != first {
				faults = append(faults, fmt.Errorf("web: register the handler of %s %s before %s", op.method, second.route, first.route))
			}
		}
	}
	return errors.Join(faults...)
}

// commonPath is a path that fits both templates, if there is one.
func commonPath(a, b string) (string, bool) {
	left, right := strings.Split(a, "/"), strings.Split(b, "/")
	if len(left) != len(right) {
		return "", false
	}
	common := slices.Clone(left)
	for i := range left {
		l, lParam := parameterEdge(left[i])
		r, rParam := parameterEdge(right[i])
		switch {
		case lParam && rParam:
			common[i] = longer(l.prefix, r.prefix) + "x" + longer(l.suffix, r.suffix)
		case lParam:
			common[i] = right[i]
		}
		_, fitsLeft := l.match(common[i])
		_, fitsRight := r.match(common[i])
		if lParam && !fitsLeft || rParam && !fitsRight || !lParam && common[i] != left[i] || !rParam && common[i] != right[i] {
			return "", false
		}
	}
	return strings.Join(common, "/"), true
}

func longer(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}
