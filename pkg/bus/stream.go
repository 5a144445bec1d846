package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	duplicateWindow = time.Hour
	deadLetterAge   = 30 * 24 * time.Hour
	minMaxBytes     = 10 << 20
	// maxEventSize bounds a message of the event streams (events are below 4 KiB), so that its dead letter, which
	// carries it in base64 with its headers, fits the server's 1 MiB.
	maxEventSize = 256 << 10

	subjectDeadLetters = "healthmed.deadletters."
	subjectRedrives    = "healthmed.redrives."
)

// ErrWouldLoseData is in the error of EnsureStreams when a stream exists and changing it to what is declared and
// configured would lose messages, copies of them, or subjects. The error says which, and nothing was changed.
var ErrWouldLoseData = errors.New("bus: the change would lose data")

// Streams names every stream that this package declares.
func Streams() []string {
	return []string{Users, Scheduling, Notifications, AccountMail, DeadLetters, Redrives}
}

// StreamConfig is the declaration of one of the streams named above.
func (c Config) StreamConfig(name string) (jetstream.StreamConfig, error) {
	c = c.withDefaults()
	s := jetstream.StreamConfig{
		Name:       name,
		Retention:  jetstream.LimitsPolicy,
		Storage:    jetstream.FileStorage,
		Discard:    jetstream.DiscardNew, // pressure lands in the outbox; nothing stored is thrown away
		Replicas:   c.Replicas,
		Duplicates: duplicateWindow,
		MaxAge:     c.MaxAge,
		MaxBytes:   c.MaxBytes,
		MaxMsgSize: maxEventSize,
		DenyDelete: true,
		DenyPurge:  true,
	}
	switch name {
	case Users:
		s.Description = "Accounts: what another system needs to address a person. Purged per person on erasure."
		s.Subjects = []string{"healthmed.users.user.>"}
		s.DenyPurge = false
	case Scheduling:
		s.Description = "Appointments, availability and waiting list: ids and times only."
		s.Subjects = []string{"healthmed.scheduling.>"}
	case Notifications:
		s.Description = "What became of each e-mail."
		s.Subjects = []string{"healthmed.notifier.>"}
		s.MaxAge = c.NotificationsMaxAge
	case AccountMail:
		s.Description = "Messages with a secret link, from users to notifier."
		s.Subjects = []string{"healthmed.users.mail.>"}
		s.Retention = jetstream.WorkQueuePolicy
		s.MaxAge = time.Hour
		s.MaxBytes = c.MaxBytes / 10
	case DeadLetters:
		s.Description = "Messages that a durable could not handle, one subject per durable."
		s.Subjects = []string{subjectDeadLetters + "*"}
		s.MaxAge, s.MaxBytes, s.MaxMsgSize = deadLetterAge, c.MaxBytes/10, -1
	case Redrives:
		s.Description = "Dead letters handed back to the one durable that failed."
		s.Subjects = []string{subjectRedrives + "*"}
		s.Retention = jetstream.WorkQueuePolicy
		s.MaxAge, s.MaxBytes, s.MaxMsgSize = deadLetterAge, c.MaxBytes/10, -1
	default:
		return s, fmt.Errorf("bus: stream %q is not declared", name)
	}
	return s, nil
}

// StreamOf names the stream that takes a subject, or "" where none does.
func StreamOf(subject string) string {
	for prefix, stream := range map[string]string{
		"healthmed.users.user.": Users,
		"healthmed.users.mail.": AccountMail,
		"healthmed.scheduling.": Scheduling,
		"healthmed.notifier.":   Notifications,
		subjectDeadLetters:      DeadLetters,
		subjectRedrives:         Redrives,
	} {
		if rest, ok := strings.CutPrefix(subject, prefix); ok && rest != "" {
			return stream
		}
	}
	return ""
}

// EnsureStreams creates or updates the named streams (the constants above) as declared in this package. The
// service that owns a stream calls it in the background until it succeeds (MaintainStreams does so). A change that
// would lose data is refused with ErrWouldLoseData. Every named stream is tried; the error joins what failed.
func (c *Conn) EnsureStreams(ctx context.Context, names ...string) error {
	if slices.Contains(names, DeadLetters) && !slices.Contains(names, Redrives) {
		names = append(slices.Clone(names), Redrives)
	}
	var faults []error
	for _, name := range names {
		if err := c.ensureStream(ctx, name); err != nil {
			faults = append(faults, fmt.Errorf("stream %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

func (c *Conn) ensureStream(ctx context.Context, name string) error {
	want, err := c.cfg.StreamConfig(name)
	if err != nil {
		return err
	}
	info, err := c.streamInfo(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err := c.denied.during(ctx, "$JS.API.STREAM.CREATE."+name, func(ctx context.Context) error {
			_, err := c.JS.CreateStream(ctx, want)
			return err
		})
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		c.log.InfoContext(ctx, "stream created", "stream", name, "replicas", want.Replicas, "max_age", want.MaxAge, "max_bytes", want.MaxBytes)
		return nil
	}
	if err != nil {
		return fmt.Errorf("info: %w", err)
	}
	if err := losses(info, want); err != nil {
		return err
	}
	next, changes := merge(info.Config, want)
	if len(changes) == 0 {
		return nil
	}
	err = c.denied.during(ctx, "$JS.API.STREAM.UPDATE."+name, func(ctx context.Context) error {
		_, err := c.JS.UpdateStream(ctx, next)
		return err
	})
	if err != nil {
		return fmt.Errorf("update of %s: %w", strings.Join(changes, ", "), err)
	}
	c.log.InfoContext(ctx, "stream updated", "stream", name, "changed", changes)
	return nil
}

func (c *Conn) streamInfo(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	err = c.denied.during(ctx, "$JS.API.STREAM.INFO."+name, func(ctx context.Context) error {
		stream, err := c.JS.Stream(ctx, name)
		if err == nil {
			info = stream.CachedInfo()
		}
		return err
	})
	return info, err
}

// losses says what would be lost if the stream became as wanted.
func losses(have *jetstream.StreamInfo, want jetstream.StreamConfig) error {
	old, stored := have.Config, have.State
	var found []error
	refuse := func(format string, args ...any) {
		found = append(found, fmt.Errorf("%w: "+format, append([]any{ErrWouldLoseData}, args...)...))
	}
	if old.Retention != want.Retention {
		refuse("retention is %s, declared is %s; make a new stream and copy", old.Retention, want.Retention)
	}
	if old.Storage != want.Storage {
		refuse("storage is %s, declared is %s; make a new stream and copy", old.Storage, want.Storage)
	}
	if want.MaxBytes > 0 && stored.Bytes > uint64(want.MaxBytes) {
		refuse("%d bytes are stored, MaxBytes would be %d", stored.Bytes, want.MaxBytes)
	}
	if want.MaxMsgs > 0 && stored.Msgs > uint64(want.MaxMsgs) {
		refuse("%d messages are stored, MaxMsgs would be %d", stored.Msgs, want.MaxMsgs)
	}
	if stored.Msgs > 0 && want.MaxAge > 0 && (old.MaxAge == 0 || want.MaxAge < old.MaxAge) {
		refuse("%d messages are stored with a MaxAge of %s, it would be %s; if that is meant, edit the stream by hand once", stored.Msgs, age(old.MaxAge), want.MaxAge)
	}
	if want.Replicas < old.Replicas {
		refuse("%d copies are kept, Replicas would be %d; if that is meant, edit the stream by hand once", old.Replicas, want.Replicas)
	}
	for _, subject := range old.Subjects {
		if !slices.ContainsFunc(want.Subjects, func(w string) bool { return covers(w, subject) }) {
			refuse("subject %s is stored, and not declared", subject)
		}
	}
	if old.Mirror != nil || old.Sealed {
		refuse("the stream is a mirror or sealed, and takes no messages")
	}
	return errors.Join(found...)
}

func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}

// merge lays what is declared over what exists: settings that this package doesn't declare (placement, compression,
// metadata) stay as the operator made them. changes names what differs.
func merge(old, want jetstream.StreamConfig) (next jetstream.StreamConfig, changes []string) {
	next = old
	set := func(name string, differs bool, change func()) {
		if differs {
			changes = append(changes, name)
			change()
		}
	}
	set("description", old.Description != want.Description, func() { next.Description = want.Description })
	set("subjects", !slices.Equal(old.Subjects, want.Subjects), func() { next.Subjects = want.Subjects })
	set("discard", old.Discard != want.Discard, func() { next.Discard = want.Discard })
	set("replicas", old.Replicas != want.Replicas, func() { next.Replicas = want.Replicas })
	set("duplicate window", old.Duplicates != want.Duplicates, func() { next.Duplicates = want.Duplicates })
	set("max age", old.MaxAge != want.MaxAge, func() { next.MaxAge = want.MaxAge })
	set("max bytes", old.MaxBytes != want.MaxBytes, func() { next.MaxBytes = want.MaxBytes })
	set("max message size", old.MaxMsgSize != want.MaxMsgSize, func() { next.MaxMsgSize = want.MaxMsgSize })
	set("max messages", old.MaxMsgs > 0, func() { next.MaxMsgs = -1 })
	set("max messages per subject", old.MaxMsgsPerSubject > 0, func() { next.MaxMsgsPerSubject = -1; next.DiscardNewPerSubject = false })
	set("deny delete", old.DenyDelete != want.DenyDelete, func() { next.DenyDelete = want.DenyDelete })
	set("deny purge", old.DenyPurge != want.DenyPurge, func() { next.DenyPurge = want.DenyPurge })
	set("rollup", old.AllowRollup, func() { next.AllowRollup = false })
	set("no ack", old.NoAck, func() { next.NoAck = false })
	return next, changes
}

// covers tells whether every subject that matches narrow matches wide too.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		if token == ">" {
			return len(n) > i
		}
		if i >= len(n) || n[i] == ">" || (token != "*" && token != n[i]) {
			return false
		}
	}
	return len(w) == len(n)
}

// MaintainStreams makes EnsureStreams true and keeps it so until ctx ends: it retries with a growing delay, and
// looks again every 30 seconds, so that a stream which was lost exists again and the outbox can refill it. A
// refused change is logged, and retried like the rest. It returns nil when ctx ends.
func (c *Conn) MaintainStreams(ctx context.Context, names ...string) error {
	say := newChanges(c.log)
	for attempt := 1; ctx.Err() == nil; attempt++ {
		wait := growing(attempt, firstSupervise, maxSupervise)
		err := c.EnsureStreams(ctx, names...)
		if err == nil {
			attempt, wait = 0, c.recheck
		}
		if ctx.Err() == nil {
			say.error(ctx, "streams are not as declared", err)
		}
		pause(ctx, wait)
	}
	return nil
}
