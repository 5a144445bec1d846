package sesinbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// record is what the index knows of a message. In a file it is the first line, as JSON; the MIME source follows it
// untouched, so that one rename makes the whole message appear or not.
type record struct {
	Message
	summary
	Seq    uint64 `json:"seq"`  // order of acceptance
	Size   int    `json:"size"` // bytes of source
	source []byte // only where there is no directory
	read   sync.Once
}

// summary is what the list shows of a message's inside, and is searched in.
type summary struct {
	Preview    string `json:"preview"`    // first words of the text
	Search     string `json:"search"`     // folded words to search in
	Invitation string `json:"invitation"` // method of the calendar invitation, or ""
}

// look is the summary. Of a message in memory it is made when somebody first looks, because taking it apart costs as
// much as accepting it, and under a load nobody does.
func (rec *record) look() summary {
	rec.read.Do(func() {
		if rec.source != nil {
			rec.summary = summarize(rec.Message, rec.source)
		}
	})
	return rec.summary
}

const (
	messageSuffix = ".msg"
	tempSuffix    = ".tmp"
)

// store keeps messages in memory or in a directory, the newest max of them.
type store struct {
	dir string
	max int
	log *slog.Logger

	mu      sync.RWMutex
	lastSeq uint64
	records []*record // oldest first
	byID    map[string]*record
}

// openStore reads the first line of every message in dir; an unreadable file is left where it is and logged.
func openStore(dir string, limit int, log *slog.Logger) (*store, error) {
	st := &store{dir: dir, max: limit, log: log, byID: make(map[string]*record)}
	if dir == "" {
		return st, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch filepath.Ext(path) {
		case tempSuffix: // a write that a crash cut short; its sender never had an answer
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		case messageSuffix:
			rec, err := readRecord(path)
			if err != nil {
				log.Warn("message file unreadable, left alone", "file", entry.Name(), "error", err)
				continue
			}
			st.records = append(st.records, rec)
		}
	}
	slices.SortFunc(st.records, bySeq)
	for _, rec := range st.records {
		st.byID[rec.ID] = rec
		st.lastSeq = rec.Seq
	}
	st.removeFiles(st.dropOldest())
	return st, nil
}

func bySeq(a, b *record) int {
	switch {
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return strings.Compare(a.ID, b.ID)
}

func readRecord(path string) (*record, error) {
	line, err := firstLine(path)
	if err != nil {
		return nil, err
	}
	rec := new(record)
	if err := json.Unmarshal(line, rec); err != nil {
		return nil, err
	}
	if rec.ID+messageSuffix != filepath.Base(path) {
		return nil, errors.New("holds another message's id")
	}
	return rec, nil
}

func firstLine(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(file).ReadBytes('\n')
	return line, errors.Join(err, file.Close())
}

// add takes a message; when it returns, the message survives an end of the process.
func (st *store) add(rec *record) error {
	st.mu.Lock()
	st.lastSeq++
	rec.Seq = st.lastSeq
	st.mu.Unlock()

	if st.dir != "" {
		rec.look()
		if err := st.write(rec); err != nil {
			return err
		}
		rec.source = nil
	}

	st.mu.Lock()
	at, _ := slices.BinarySearchFunc(st.records, rec, bySeq) // concurrent writes may finish out of order
	st.records = slices.Insert(st.records, at, rec)
	st.byID[rec.ID] = rec
	dropped := st.dropOldest()
	st.mu.Unlock()
	st.removeFiles(dropped)
	return nil
}

func (st *store) write(rec *record) error {
	head, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	temp := filepath.Join(st.dir, rec.ID+tempSuffix)
	content := slices.Concat(head, []byte("\n"), rec.source)
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	if err := os.Rename(temp, st.path(rec.ID)); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (st *store) path(id string) string { return filepath.Join(st.dir, id+messageSuffix) }

// dropOldest takes what is beyond the limit out of the index; the caller holds the lock.
func (st *store) dropOldest() []*record {
	if len(st.records) <= st.max {
		return nil
	}
	dropped := slices.Clone(st.records[:len(st.records)-st.max])
	for i, rec := range dropped {
		delete(st.byID, rec.ID)
		st.records[i] = nil
	}
	st.records = st.records[len(dropped):] // moved when the slice next grows, not with every message
	return dropped
}

func (st *store) removeFiles(records []*record) {
	if st.dir == "" {
		return
	}
	for _, rec := range records {
		if err := removeIfThere(st.path(rec.ID)); err != nil {
			st.log.Warn("message file not removed", "id", rec.ID, "error", err)
		}
	}
}

// clear removes every message and says how many there were.
func (st *store) clear() int {
	st.mu.Lock()
	all := st.records
	st.records = nil
	clear(st.byID)
	st.mu.Unlock()
	st.removeFiles(all)
	return len(all)
}

func (st *store) newestFirst() []*record {
	st.mu.RLock()
	defer st.mu.RUnlock()
	records := slices.Clone(st.records)
	slices.Reverse(records)
	return records
}

func (st *store) get(id string) (*record, bool) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	rec, ok := st.byID[id]
	return rec, ok
}

// recipientsSince counts as SES counts: one per recipient.
func (st *store) recipientsSince(start time.Time) int {
	st.mu.RLock()
	defer st.mu.RUnlock()
	n := 0
	for _, rec := range slices.Backward(st.records) {
		if rec.SentAt.Before(start) {
			break
		}
		n += len(rec.To)
	}
	return n
}

func (st *store) raw(id string) ([]byte, bool) {
	rec, ok := st.get(id)
	if !ok {
		return nil, false
	}
	if st.dir == "" {
		return rec.source, true
	}
	content, err := os.ReadFile(st.path(rec.ID))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // it may have been dropped a moment ago
			st.log.Error("message file unreadable", "id", id, "error", err)
		}
		return nil, false
	}
	_, source, found := bytes.Cut(content, []byte("\n"))
	return source, found
}
