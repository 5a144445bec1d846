package users

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/outbox"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/users/internal/identity/local"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Command runs what an operator does beside the running service: outbox status|replay|redrive, rotate-keys, and audit-drop
// --before YYYY-MM.
func Command(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	commands := map[string]func(context.Context, Config, *pgxpool.Pool, []string, io.Writer) error{
		"outbox": func(ctx context.Context, _ Config, pool *pgxpool.Pool, rest []string, out io.Writer) error {
			return outbox.Command(ctx, rest, pool, out)
		},
		"rotate-keys": rotateKeys, "audit-drop": auditDrop,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("unknown sub-command %q: want none, migrate, healthcheck, outbox, rotate-keys or audit-drop", strings.Join(args, " "))
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	pool, err := pkgpostgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	return commands[args[0]](ctx, cfg, pool, args[1:], out)
}

func (c Config) storeOn(pool *pgxpool.Pool) (*postgres.Store, keys, error) {
	k, err := c.parseKeys()
	return postgres.New(postgres.Config{Pool: pool, CPF: k.cpf, Index: k.index, Now: c.now(), Nudge: func() {}}), k, err
}

// rotateKeys encrypts anew what lies under a key that is no longer the first of its ring. Afterwards that key may leave the
// configuration, once every replica has the new one in front.
func rotateKeys(ctx context.Context, cfg Config, pool *pgxpool.Pool, args []string, out io.Writer) error {
	if len(args) > 0 {
		return errors.New("rotate-keys takes no arguments: the new key is the first of KEYS_CPF or KEYS_TOKEN")
	}
	store, k, err := cfg.storeOn(pool)
	if err != nil {
		return err
	}
	n, err := store.ResealCPFs(ctx)
	fmt.Fprintf(out, "%d CPFs encrypted anew under key %s\n", n, k.cpf.Current())
	if err != nil {
		return err
	}
	left, err := store.CPFsUnderOtherKeys(ctx)
	if err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d CPFs were written under another key meanwhile: give every replica the new ring, and run this again", left)
	}
	if k.signing == nil {
		return nil
	}
	signing := local.NewKeys(local.KeysConfig{Store: store, Ring: k.signing, Now: cfg.now(), Log: slog.New(slog.DiscardHandler)})
	n, err = signing.Reseal(ctx)
	fmt.Fprintf(out, "%d token signing keys encrypted anew under key %s\n", n, k.signing.Current())
	return err
}

// keepAudit is how many months of the audit log nobody may drop: access records are kept for six (Marco Civil, art. 15), the
// present month beside them.
const keepAudit = 7

// auditDrop removes the audit log's months before one.
func auditDrop(ctx context.Context, cfg Config, pool *pgxpool.Pool, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("audit-drop", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	text := flags.String("before", "", "")
	err := flags.Parse(args)
	before, monthErr := time.Parse("2006-01", *text)
	if err != nil || monthErr != nil || flags.NArg() > 0 {
		return errors.New("usage: audit-drop --before YYYY-MM")
	}
	now := cfg.now()().UTC()
	if first := time.Date(now.Year(), now.Month()-keepAudit+1, 1, 0, 0, 0, 0, time.UTC); before.After(first) {
		return fmt.Errorf("audit-drop: months from %s on must be kept", first.Format("2006-01"))
	}
	store, _, err := cfg.storeOn(pool)
	if err != nil {
		return err
	}
	dropped, err := store.DropAudit(ctx, before)
	for _, name := range dropped {
		fmt.Fprintln(out, "dropped", name)
	}
	return err
}
