package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/localpg"
)

func TestSecrets_StayTheSame(t *testing.T) {
	dir := t.TempDir()
	made, err := loadSecrets(dir)
	if err != nil || !made.fresh {
		t.Fatalf("%+v, %v: want fresh secrets", made, err)
	}
	if err := made.keep(dir); err != nil {
		t.Fatal(err)
	}
	kept, err := loadSecrets(dir)
	if made.fresh = false; err != nil || kept != made {
		t.Errorf("read again they are others (%v)", err)
	}
}

// A damaged file is told as such, and never replaced.
func TestSecrets_DamagedAreRefused(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "cut off": `{"cpf_key": "aa`, "no keys": `{}`,
		"a short key": `{"cpf_key":"YQ==","cpf_index_key":"YQ==","token_key":"YQ=="}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, secretsFile)
			if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := loadSecrets(dir); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
				t.Errorf("the error is %v, want one that says what to do", err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != body {
				t.Errorf("the file is now %q (%v)", now, err)
			}
		})
	}
}

// With new secrets over an old database nobody could sign in, so they are not made.
func TestSecrets_AreNotMadeForAFilledDatabase(t *testing.T) {
	dir, err := os.MkdirTemp("", "healthmed-") //nolint:usetesting // PostgreSQL, which doesn't run as root, must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	settle := func() error {
		made, err := loadSecrets(dir)
		if err != nil {
			return err
		}
		p := &parts{postgres: server, secrets: made, cfg: Config{DataDir: dir}}
		return p.settleSecrets(t.Context())
	}
	if err := settle(); err != nil {
		t.Fatalf("first start: %v", err)
	}
	database, err := server.URL(t.Context(), "healthmed_users")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, database)
	if err := settle(); err != nil {
		t.Errorf("later start: %v", err)
	}
	file := filepath.Join(dir, secretsFile)
	if err := os.Rename(file, file+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := settle(); err == nil || !strings.Contains(err.Error(), "restore the file") {
		t.Errorf("the error is %v, want one that says what to do", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("new secrets were written all the same")
	}
}

func TestConfig_DatabaseURLIsNotEchoed(t *testing.T) {
	err := Config{
		HTTPAddr: ":0", InboxAddr: ":0", NATSAddr: "127.0.0.1:0", DataDir: "x", AdminEmail: "a@b.example",
		DatabaseURL: config.Secret("host=db user=u password=sEcReT"),
	}.Validate()
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL: want postgres://") || strings.Contains(err.Error(), "sEcReT") {
		t.Errorf("the error is %v", err)
	}
}

// fill makes what a first start leaves behind.
func fill(t *testing.T, database config.Secret) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE users (id uuid)`); err != nil {
		t.Fatal(err)
	}
}
