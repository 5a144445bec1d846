package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// ListDeadLetters implements GET /v1/dead-letters.
func (s *Server) ListDeadLetters(ctx context.Context, r ListDeadLettersRequestObject) (ListDeadLettersResponseObject, error) {
	last, err := before(r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := limitOf(r.Params.Limit)
	found, err := s.Store.DeadLetters(ctx, last, limit+1)
	if err != nil {
		return nil, err
	}
	found, next := page(found, limit, func(d postgres.DeadLetter) uuid.UUID { return d.ID })
	out := DeadLetterPage{Items: make([]DeadLetter, 0, len(found)), NextCursor: next}
	for _, d := range found {
		out.Items = append(out.Items, shownLetter(d))
	}
	return ListDeadLetters200JSONResponse(out), nil
}

// RedriveDeadLetter implements POST /v1/dead-letters/{id}/redrive. Asking twice hands it over once, and says so: the
// stream takes a redriven letter once an hour, and a delivery that is under way can't be retried.
func (s *Server) RedriveDeadLetter(ctx context.Context, r RedriveDeadLetterRequestObject) (RedriveDeadLetterResponseObject, error) {
	d, err := s.Store.DeadLetter(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	if d.Letter == nil {
		if _, err := s.Store.Retry(ctx, d.ID, s.Now()); err != nil {
			return nil, err
		}
		s.Nudge()
	} else {
		var letter bus.DeadLetter
		if err := json.Unmarshal(d.Letter, &letter); err != nil {
			return nil, fmt.Errorf("stored dead letter: %w", err)
		}
		switch err := s.Conn.Redrive(ctx, letter); {
		case errors.Is(err, bus.ErrRedriven) && !d.RedrivenAt.IsZero():
			return nil, alreadyRedriven(d.RedrivenAt, s.Now())
		case err != nil && !errors.Is(err, bus.ErrRedriven): // what was handed over and could not be noted is noted now
			return nil, err
		}
	}
	d.RedrivenAt = s.Now()
	if err := s.Store.MarkRedriven(ctx, d.ID, d.RedrivenAt); err != nil {
		return nil, err
	}
	return RedriveDeadLetter202JSONResponse(shownLetter(d)), nil
}

// alreadyRedriven says when a letter was handed back, and from when on it can be again.
func alreadyRedriven(at, now time.Time) web.Problem {
	p := redriven()
	if again := at.Add(bus.RedriveOnce); again.After(now) {
		p.RetryAfter = again.Sub(now)
		p.Detail = web.Text{
			PT: fmt.Sprintf("Foi devolvida ao consumidor em %s e não foi devolvida de novo agora; pode ser outra vez a partir de %s.",
				at.UTC().Format(time.RFC3339), again.UTC().Format(time.RFC3339)),
			EN: fmt.Sprintf("It was handed back to its consumer at %s and has not been again now; it can be from %s on.",
				at.UTC().Format(time.RFC3339), again.UTC().Format(time.RFC3339)),
		}
	}
	return p
}

func shownLetter(d postgres.DeadLetter) DeadLetter {
	return DeadLetter{
		Id: d.ID, Stream: d.Stream, StreamSeq: d.StreamSeq, Durable: d.Durable, Subject: d.Subject, Reason: d.Reason,
		Attempts: d.Attempts, FailedAt: d.FailedAt.UTC(), RedrivenAt: optionalTime(d.RedrivenAt),
	}
}
