package localpg_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/localpg"
)

// With these set, this program starts a cluster, prints its URL and waits to be killed.
const (
	childDir       = "LOCALPG_TEST_DIR"
	childThrowaway = "LOCALPG_TEST_THROWAWAY"
	limit          = 60 * time.Second
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	s, err := localpg.Start(context.Background(), localpg.Config{Dir: dir, Throwaway: os.Getenv(childThrowaway) != ""})
	if err != nil {
		return err
	}
	url, err := s.URL(context.Background(), "postgres")
	if err != nil {
		return err
	}
	fmt.Println(url.Reveal())
	<-s.Done()
	return nil
}

// startChild runs a cluster in a process of its own and gives the process and the cluster's URL.
func startChild(t *testing.T, dir string, env ...string) (*exec.Cmd, string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

func start(t *testing.T, cfg localpg.Config) *localpg.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s, err := localpg.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func connect(t *testing.T, s *localpg.Server, database string) *pgx.Conn {
	t.Helper()
	url, err := s.URL(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, url.Reveal())
}

func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func must(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// serverPID reads the process id of the cluster's server.
func serverPID(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// running tells whether a process is there and not merely waiting to be reaped.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err != nil || !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// t.TempDir lies below a folder that only its owner may enter, as a checkout in root's home does.
func TestStart_KeepsDataBetweenStarts_AndStartsFast(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{
		"missing":               "made/when missing",
		"a comma":               "a, b",
		"too long for a socket": strings.Repeat("long/", 20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keepsData(t, filepath.Join(t.TempDir(), dir))
		})
	}
}

func keepsData(t *testing.T, dir string) {
	cfg := localpg.Config{Dir: dir, Fsync: true}
	s := start(t, cfg)
	conn := connect(t, s, "app")
	must(t, conn, "CREATE TABLE kept AS SELECT 1 AS n")
	if again := connect(t, s, "app"); rows(t, again) != 1 {
		t.Error("asking for the URL again gave another database")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}

	began := time.Now()
	s = start(t, cfg)
	took := time.Since(began)
	t.Logf("a later start took %s", took)
	if took > 2*time.Second {
		t.Errorf("a later start took %s, want under 2 s", took)
	}
	if n := rows(t, connect(t, s, "app")); n != 1 {
		t.Errorf("%d rows after the restart, want 1", n)
	}
}

func TestStart_LetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, localpg.Config{Dir: dir})
	for _, url := range []string{
		"postgres://healthmed@" + s.Addr() + "/postgres?sslmode=disable",
		"postgres://healthmed:guess@" + s.Addr() + "/postgres?sslmode=disable",
		"postgres://postgres@" + s.Addr() + "/postgres?sslmode=disable",
	} {
		if conn, err := pgx.Connect(t.Context(), url); err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("connected with %s", url)
		}
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "password": 0o600, "postgresql.log": 0o600, "run": 0o700} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%q has mode %v (%v), want %v", name, fi.Mode().Perm(), err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "postgresql.log")); err != nil || !strings.Contains(string(b), "password authentication failed") {
		t.Errorf("the server's log is not in the folder: %v", err)
	}
	url, err := s.URL(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %s", url, url, url); strings.Contains(text, "postgres://") {
		t.Errorf("the URL prints its password: %s", text)
	}
}

func TestStart_RecoversAfterItsProcessWasKilled_AndLeavesNoServerBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, url := startChild(t, dir)
	must(t, dial(t, url), "CREATE TABLE kept AS SELECT 1 AS n")
	server := serverPID(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// At once, while the old server is still on its way out.
	s := start(t, localpg.Config{Dir: dir})
	if running(server) {
		t.Error("the server outlived its process")
	}
	if n := rows(t, connect(t, s, "postgres")); n != 1 {
		t.Errorf("%d rows, want the 1 that was committed", n)
	}
}

func TestStart_RecoversAfterTheServerWasKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := localpg.Config{Dir: dir, Fsync: true}
	s := start(t, cfg)
	must(t, connect(t, s, "postgres"), "CREATE TABLE kept AS SELECT 1 AS n")
	if err := syscall.Kill(serverPID(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if n := rows(t, connect(t, s, "postgres")); n != 1 {
		t.Errorf("%d rows, want the 1 that was committed", n)
	}
}

// After a power cut the process id in postmaster.pid may belong to anything, which PostgreSQL takes for a server.
func TestStart_IsNotFooledByAStalePIDFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := localpg.Config{Dir: dir}
	s := start(t, cfg)
	file := filepath.Join(dir, "data", "postmaster.pid")
	stale, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "60")
	st := fi.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	_, rest, _ := strings.Cut(string(stale), "\n")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n%s", other.Process.Pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, int(st.Uid), int(st.Gid)); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	if !running(other.Process.Pid) {
		t.Error("the innocent process was ended")
	}
}

func TestStart_RefusesAFolderThatIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, localpg.Config{Dir: dir})
	if _, err := localpg.Start(t.Context(), localpg.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("error %v, want one that says that the folder is in use", err)
	}
}

func TestStart_LeavesAForeignDataFolderAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notes := filepath.Join(dir, "data", "notes.txt")
	if err := os.Mkdir(filepath.Dir(notes), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notes, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := localpg.Start(t.Context(), localpg.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "no PostgreSQL cluster") {
		t.Errorf("the error is %v, want one that says that this is no cluster", err)
	}
	if kept, err := os.ReadFile(notes); err != nil || string(kept) != "mine" {
		t.Errorf("what was there is now %q (%v)", kept, err)
	}
}

func TestStart_SaysWhyTheServerDidNotStart(t *testing.T) {
	t.Parallel()
	_, err := localpg.Start(t.Context(), localpg.Config{Dir: t.TempDir(), Params: map[string]string{"work_mem": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), "work_mem") {
		t.Errorf("error %v, want PostgreSQL's own reason", err)
	}
}

func TestStart_RemovesThrowawayDataWhenItsProcessIsKilled(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "localpg-test-") //nolint:usetesting // the server removes it, and the test looks
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd, _ := startChild(t, dir, childThrowaway+"=yes")
	server := serverPID(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// The empty folder may stay when the server's user cannot remove it from its parent.
	eventually(t, "data removed", func() bool { left, _ := os.ReadDir(dir); return len(left) == 0 })
	if running(server) {
		t.Error("the server outlived its process")
	}
}
