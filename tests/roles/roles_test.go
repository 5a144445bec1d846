package roles

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/localpg"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/tests/system"
)

const script = "../../deploy/terraform/modules/database/roles.sh"

// TestRoles gives each service a database that is its own alone, twice over, and then a new password to one of them.
func TestRoles(t *testing.T) {
	system.Needs(t, "psql")
	ctx := t.Context()
	server, err := localpg.Start(ctx, localpg.Config{Dir: system.DataDir(t), Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	admin, err := server.URL(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	superuser := connect(t, admin.Reveal())
	execute(t, superuser, "CREATE ROLE postgres LOGIN CREATEDB CREATEROLE PASSWORD 'master'")

	makeRoles(t, server, "USERS_PASSWORD=first", "SCHEDULING_PASSWORD=other")
	users := connect(t, as(server, "users", "first", "users"))
	execute(t, users, "CREATE TABLE held (id int)")
	scheduling := connect(t, as(server, "scheduling", "other", "scheduling"))
	execute(t, scheduling, "CREATE EXTENSION btree_gist") // what its migrations ask for

	t.Run("nobody enters another's", func(t *testing.T) {
		refused(t, as(server, "scheduling", "other", "users"), "42501") // insufficient privilege
	})
	t.Run("again, with a new password", func(t *testing.T) {
		makeRoles(t, server, "USERS_PASSWORD=second", "SCHEDULING_PASSWORD=other")
		execute(t, connect(t, as(server, "users", "second", "users")), "SELECT FROM held")
		refused(t, as(server, "users", "first", "users"), "28P01") // invalid password
	})
	t.Run("the master is a member of none of them", func(t *testing.T) {
		master := connect(t, as(server, "postgres", "master", "postgres"))
		if _, err := master.Exec(ctx, "SET ROLE users"); pg.Code(err) != "42501" { // insufficient privilege
			t.Errorf("the master's password opens the services' tables: %v", err)
		}
	})
	t.Run("a missing password is no empty one", func(t *testing.T) {
		if out, err := command(t, server, "USERS_PASSWORD=third").CombinedOutput(); err == nil {
			t.Errorf("went on without SCHEDULING_PASSWORD\n%s", out)
		}
	})
}

func makeRoles(t *testing.T, server *localpg.Server, passwords ...string) {
	t.Helper()
	if out, err := command(t, server, passwords...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func command(t *testing.T, server *localpg.Server, passwords ...string) *exec.Cmd {
	t.Helper()
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", script)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER=postgres", "PGPASSWORD=master", "PGSSLMODE=disable",
		"DATABASE_CA=none", "DATABASES=users scheduling")
	cmd.Env = append(cmd.Env, passwords...)
	return cmd
}

func as(server *localpg.Server, role, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: server.Addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func refused(t *testing.T, dsn, code string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if got := pg.Code(err); got != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
