package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
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

// RedriveDeadLetter implements POST /v1/dead-letters/{id}/redrive. Asking twice hands it over once: the stream takes
// a redriven letter once an hour, and a delivery that is under way can't be retried.
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
		if err := s.Conn.Redrive(ctx, letter); err != nil {
			return nil, err
		}
	}
	d.RedrivenAt = s.Now()
	if err := s.Store.MarkRedriven(ctx, d.ID, d.RedrivenAt); err != nil {
		return nil, err
	}
	return RedriveDeadLetter202JSONResponse(shownLetter(d)), nil
}

func shownLetter(d postgres.DeadLetter) DeadLetter {
	return DeadLetter{
		Id: d.ID, Stream: d.Stream, StreamSeq: d.StreamSeq, Durable: d.Durable, Subject: d.Subject, Reason: d.Reason,
		Attempts: d.Attempts, FailedAt: d.FailedAt.UTC(), RedrivenAt: optionalTime(d.RedrivenAt),
	}
}
