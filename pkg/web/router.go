package web

import (
	"fmt"
	"slices"
	"strings"
)

// router finds the operation of a path. It is a tree by path segment; a literal segment wins over a parameter.
type router struct {
	root node
}

type node struct {
	literal map[string]*node
	params  []paramEdge
	ops     map[string]*operation // by method
	allow   string                // Allow value: GET, HEAD, OPTIONS, ...
}

// paramEdge is a segment such as {id} or {token}.ics.
type paramEdge struct {
	prefix, suffix string
	next           *node
}

// parameterEdge reads a template's segment that holds one parameter.
func parameterEdge(segment string) (paramEdge, bool) {
	prefix, rest, opened := strings.Cut(segment, "{")
	_, suffix, shut := strings.Cut(rest, "}")
	if !opened || !shut || strings.ContainsAny(prefix+suffix, "{}") {
		return paramEdge{}, false
	}
	return paramEdge{prefix: prefix, suffix: suffix}, true
}

// add registers the operation under its template.
func (r *router) add(op *operation) error {
	n := &r.root
	for segment := range strings.SplitSeq(strings.TrimPrefix(op.route, "/"), "/") {
		switch edge, isParam := parameterEdge(segment); {
		case isParam:
			n = n.param(edge.prefix, edge.suffix)
		case strings.ContainsAny(segment, "{}"):
			return fmt.Errorf("web: path %s: a segment may hold one parameter", op.route)
		default:
			n = n.child(segment)
		}
	}
	if n.ops == nil {
		n.ops = make(map[string]*operation)
	}
	if other, taken := n.ops[op.method]; taken {
		return fmt.Errorf("web: %s %s and %s are the same path", op.method, other.route, op.route)
	}
	n.ops[op.method] = op
	n.allow = n.methods()
	return nil
}

func (n *node) child(segment string) *node {
	if n.literal == nil {
		n.literal = make(map[string]*node)
	}
	next, ok := n.literal[segment]
	if !ok {
		next = &node{}
		n.literal[segment] = next
	}
	return next
}

func (n *node) param(prefix, suffix string) *node {
	for _, e := range n.params {
		if e.prefix == prefix && e.suffix == suffix {
			return e.next
		}
	}
	next := &node{}
	n.params = append(n.params, paramEdge{prefix, suffix, next})
	// The longer affixes are tried first: {token}.ics before {token}.
	slices.SortStableFunc(n.params, func(a, b paramEdge) int {
		return len(b.prefix) + len(b.suffix) - len(a.prefix) - len(a.suffix)
	})
	return next
}

func (n *node) methods() string {
	list := make([]string, 0, len(n.ops)+2)
	for method := range n.ops {
		list = append(list, method)
		if method == "GET" {
			list = append(list, "HEAD")
		}
	}
	slices.Sort(list)
	return strings.Join(append(slices.Compact(list), "OPTIONS"), ", ")
}

// find returns the node of the raw (still escaped) path, with the raw values of its parameters appended to values;
// nil when no template matches.
func (r *router) find(path string, values []string) (*node, []string) {
	if path == "" || path[0] != '/' {
		return nil, values
	}
	return r.root.find(path[1:], values)
}

func (n *node) find(path string, values []string) (*node, []string) {
	segment, rest, more := strings.Cut(path, "/")
	if next, ok := n.literal[segment]; ok {
		if found, v := next.descend(rest, more, values); found != nil {
			return found, v
		}
	}
	for _, e := range n.params {
		value, ok := e.match(segment)
		if !ok {
			continue
		}
		if found, v := e.next.descend(rest, more, append(values, value)); found != nil {
			return found, v
		}
	}
	return nil, values
}

func (n *node) descend(rest string, more bool, values []string) (*node, []string) {
	if more {
		return n.find(rest, values)
	}
	if n.ops == nil {
		return nil, values
	}
	return n, values
}

func (e paramEdge) match(segment string) (string, bool) {
	value, ok := strings.CutPrefix(segment, e.prefix)
	if !ok {
		return "", false
	}
	value, ok = strings.CutSuffix(value, e.suffix)
	return value, ok && value != ""
}
