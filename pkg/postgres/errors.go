package postgres

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// SQLSTATE codes; see https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeQueryCanceled   = "57014" // statement_timeout, among others
	codeLockTimeout     = "55P03"
	codeIdleInTx        = "25P03"
	codeReadOnly        = "25006" // connected to a standby during a fail-over
	classConnection     = "08"
	classResources      = "53" // too many connections, disk full, out of memory
	classOperator       = "57P"
	retries             = 3
	retryBase           = 5 * time.Millisecond
	retryMax            = 50 * time.Millisecond
	retryJitterFraction = 2
)

// Retry runs f again, at most three times with jitter, on deadlock (40P01) or serialization failure (40001).
// f must start a new transaction each time.
func Retry(ctx context.Context, f func(context.Context) error) error {
	pause := retryBase
	for try := 0; ; try++ {
		err := f(ctx)
		if try == retries || !conflicted(err) {
			return err
		}
		timer := time.NewTimer(pause + rand.N(pause*retryJitterFraction))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(pause*retryJitterFraction, retryMax)
	}
}

func conflicted(err error) bool {
	code := Code(err)
	return code == codeDeadlock || code == codeSerialization
}

// Code is the SQLSTATE of a PostgreSQL error, or "".
func Code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// IsUnavailable tells an outage (no connection, pool exhausted, shutting down, statement time-out) from a fault
// of ours. A conflict that outlived its retries counts as an outage too: the caller may try again later. So does
// a passed deadline, because it was passed while the database was being waited for.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code := Code(err); code != "" {
		switch code {
		case codeQueryCanceled, codeLockTimeout, codeIdleInTx, codeReadOnly, codeSerialization, codeDeadlock:
			return true
		}
		return strings.HasPrefix(code, classConnection) || strings.HasPrefix(code, classResources) ||
			strings.HasPrefix(code, classOperator) || isConnect(err)
	}
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || isConnect(err) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, puddle.ErrClosedPool) || pgconn.SafeToRetry(err)
}

func isConnect(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}
