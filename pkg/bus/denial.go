package bus

import (
	"context"
	"strings"
	"sync"
)

// denials turns the server's permission violations, which arrive apart from the request that they answer, into the end
// of that request: without it a refusal looks like a time-out, and takes as long.
type denials struct {
	mu      sync.Mutex
	waiting map[*context.CancelCauseFunc]string // by subject
}

// watch gives a context that ends, with the violation as its cause, when publishing to the subject is refused.
func (d *denials) watch(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*context.CancelCauseFunc]string{}
	}
	d.waiting[&cancel] = subject
	return ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, &cancel)
		cancel(nil)
	}
}

// report ends the requests that a violation is about. The server quotes the subject in its text.
func (d *denials) report(violation error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for cancel, subject := range d.waiting {
		if strings.Contains(violation.Error(), `"`+subject+`"`) {
			(*cancel)(violation)
		}
	}
}

// during makes a request to the subject. Where the server refuses it, the error is the violation.
func (d *denials) during(ctx context.Context, subject string, request func(context.Context) error) error {
	ctx, cancel := d.watch(ctx, subject)
	defer cancel()
	err := request(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
