package access

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
)

const usage = `usage: healthmed-admin keys
       healthmed-admin partner add NAME --events 'scheduling.appointment.*' [--doctor ID] [--users] [--from TIME] [--out FILE]
       healthmed-admin partner list
       healthmed-admin partner revoke NAME
       healthmed-admin reload

keys            make the missing keys of the services and of the operator
partner add     another system may read these events (several patterns: separated by commas); makes its durable
                consumer, its account and its key, and prints how to connect
    --doctor    of one doctor alone
    --users     may read USERS: names and e-mail addresses
    --from      begin at this time (2026-12-01T00:00:00Z, or now) instead of at the first event
    --out       file for the key, - for standard output; without it NAME.nk
partner list    who may read what
partner revoke  disconnect it, and forget its place
reload          have the server read its configuration

Settings: NATS_URL, NATS_CA_FILE, NATS_AUTH_DIR (keys.conf and partners.conf), NATS_SEEDS_DIR (private keys).
`

// ErrUsage is returned by Command for arguments that it doesn't know; the usage has been written then.
var ErrUsage = errors.New("wrong usage")

// Command runs healthmed-admin: args is what follows the program's name. Keys go to out where that is asked for, all
// else that belongs to them to notes.
func Command(ctx context.Context, cfg Config, args []string, out, notes io.Writer) error {
	switch verb, rest := split(args); verb {
	case "keys":
		return keysCommand(cfg, rest, out)
	case "reload":
		n, err := cfg.Reload(ctx)
		if err == nil {
			fmt.Fprintf(out, "%d servers have read their configuration\n", n)
		}
		return err
	case "partner":
		switch verb, rest := split(rest); verb {
		case "add":
			return addCommand(ctx, cfg, rest, out, notes)
		case "list":
			return listCommand(cfg, out)
		case "revoke":
			return revokeCommand(ctx, cfg, rest, out)
		}
	}
	return wrongUsage(notes, "unknown command")
}

func split(args []string) (verb string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

func wrongUsage(out io.Writer, why string) error {
	fmt.Fprint(out, usage)
	return fmt.Errorf("%w: %s", ErrUsage, why)
}

func keysCommand(cfg Config, args []string, out io.Writer) error {
	if len(args) > 0 {
		return wrongUsage(out, "keys takes no arguments")
	}
	made, err := MakeKeys(cfg.Auth, cfg.Seeds)
	if len(made) > 0 {
		fmt.Fprintf(out, "new keys: %s\n", strings.Join(made, ", "))
	}
	return err
}

func addCommand(ctx context.Context, cfg Config, args []string, out, notes io.Writer) error {
	r, file, err := parseAdd(args, time.Now())
	if err != nil {
		return wrongUsage(notes, err.Error())
	}
	toFile := file != "-"
	if _, err := os.Stat(file); toFile && err == nil {
		return fmt.Errorf("%s exists: it may be somebody's key", file)
	}
	p, seed, err := cfg.Add(ctx, r, time.Now())
	if err != nil {
		return err
	}
	if !toFile {
		fmt.Fprintf(out, "%s\n", seed)
	} else if err := writeSeed(file, seed); err != nil {
		return errors.Join(fmt.Errorf("the key could not be written, and so the partner is not added: %w", err), cfg.Revoke(context.WithoutCancel(ctx), p.Name))
	}
	connecting(notes, cfg, p, file)
	return nil
}

// connecting prints how to connect.
func connecting(out io.Writer, cfg Config, p Partner, file string) {
	if file == "-" {
		file = p.Name + ".nk"
	}
	fmt.Fprintf(out, "%s may read %s. Give them the key (%s) over a safe way; it is kept nowhere else. They connect with\n\n", p.Name, strings.Join(p.Streams, ", "), file)
	fmt.Fprintf(out, "  NATS_URL=%s NATS_NKEY=%s CONSUMER=%s STREAM=%s", cfg.URL, file, p.Name, p.Streams[0])
	if cfg.CAFile != "" {
		fmt.Fprintf(out, " NATS_CA=%s", cfg.CAFile)
	}
	fmt.Fprintf(out, "\n\nand a program of docs/events.md. To see that it works:\n\n  nats --server %s --nkey %s --inbox-prefix _INBOX_%s consumer next %s %s --no-ack\n",
		cfg.URL, file, p.Name, p.Streams[0], p.Name)
}

// parseAdd reads the arguments of partner add, of which the name may come first or last.
func parseAdd(args []string, now time.Time) (r Request, out string, err error) {
	flags := flag.NewFlagSet("add", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	patterns := flags.String("events", "", "")
	doctor := flags.String("doctor", "", "")
	from := flags.String("from", "", "")
	flags.BoolVar(&r.Users, "users", false, "")
	flags.StringVar(&out, "out", "", "")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		r.Name, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return r, "", err
	}
	switch rest := flags.Args(); {
	case r.Name == "" && len(rest) == 1:
		r.Name = rest[0]
	case r.Name == "" || len(rest) > 0:
		return r, "", errors.New("one name is needed")
	}
	if *patterns != "" {
		r.Events = strings.Split(*patterns, ",")
	}
	if *doctor != "" {
		id, err := uuid.Parse(*doctor)
		if err != nil {
			return r, "", errors.New("--doctor is not an id")
		}
		r.Doctor = &id
	}
	switch t, err := time.Parse(time.RFC3339, *from); {
	case *from == "":
	case *from == "now":
		r.From = &now
	case err != nil:
		return r, "", errors.New("--from is neither a time such as 2026-12-01T00:00:00Z nor now")
	default:
		r.From = &t
	}
	if out == "" {
		out = r.Name + ".nk"
	}
	return r, out, nil
}

func listCommand(cfg Config, out io.Writer) error {
	partners, err := cfg.Partners()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PARTNER\tSTREAMS\tEVENTS\tDOCTOR\tADDED\tKEY")
	for _, p := range partners {
		doctor, added := "all", p.Added.Format(time.DateOnly)
		if p.Doctor != nil {
			doctor = p.Doctor.String()
		}
		if p.Revoked {
			added = "revoked, consumers left: revoke again"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, strings.Join(p.Streams, ","), strings.Join(p.Events, ","), doctor, added, p.Key)
	}
	return w.Flush()
}

func revokeCommand(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	if len(args) != 1 {
		return wrongUsage(out, "revoke takes one name")
	}
	if err := cfg.Revoke(ctx, args[0]); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is revoked\n", args[0])
	return nil
}
