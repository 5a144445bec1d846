package localpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the identity that the server runs under. PostgreSQL refuses root.
type owner struct {
	drop     bool // false: this process's own identity
	uid, gid uint32
	// capability lets it pass through folders that are closed to it; 0 is none.
	capability uintptr
}

// chooseOwner keeps this process's identity unless it is root. Root drops to whom the cluster already belongs to,
// else to the user behind sudo, else to "postgres" or "nobody". Where a parent of dir or bin, such as root's home, is
// closed to that user, it is given a capability to pass; not another owner, so that the cluster can later be started
// without it.
func chooseOwner(dir, bin string) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	own := owner{drop: true, uid: 65534, gid: 65534}
	if u, ok := lookup(os.Getenv("SUDO_UID")); ok {
		own.uid, own.gid = u.uid, u.gid
	} else if u, ok := lookup("postgres"); ok {
		own.uid, own.gid = u.uid, u.gid
	}
	if fi, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			own.uid, own.gid = st.Uid, st.Gid
		}
	}
	if err := own.chown(dir, dir); err != nil {
		return own, err
	}
	for _, own.capability = range append([]uintptr{0}, entering()...) {
		if own.canEnter(dir) && own.canEnter(bin) {
			return own, nil
		}
	}
	closed := dir
	if own.capability = 0; own.canEnter(dir) {
		closed = bin
	}
	return own, fmt.Errorf("PostgreSQL refuses to run as root, and uid %d, which it would run as, cannot enter %s: "+
		"choose a place whose parents everyone may enter (DATA_DIR), run as a normal user, or set DATABASE_URL", own.uid, closed)
}

// lookup finds a user by name or number.
func lookup(who string) (owner, bool) {
	if who == "" {
		return owner{}, false
	}
	u, err := user.LookupId(who)
	if err != nil {
		if u, err = user.Lookup(who); err != nil {
			return owner{}, false
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return owner{uid: uint32(uid), gid: uint32(gid)}, err1 == nil && err2 == nil && uid != 0
}

// command runs a program as the owner, in a process group of its own: Ctrl-C in a terminal is for this process,
// which stops the server when everything that uses it has stopped. A shell enters the folder and runs the program,
// because the capability is in effect only after a first program was started.
func (o owner) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `cd "$1" && shift && exec "$@"`, "sh", dir, program}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
		if o.capability != 0 {
			allow(cmd.SysProcAttr, o.capability)
		}
	}
	// A server must not depend on the caller's PG* variables, and the messages that are looked for are English.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

func (o owner) canEnter(dir string) bool {
	return o.command(context.Background(), dir, "true").Run() == nil
}

func (o owner) chown(paths ...string) error {
	if !o.drop {
		return nil
	}
	for _, p := range paths {
		if err := os.Chown(p, int(o.uid), int(o.gid)); err != nil {
			return err
		}
	}
	return nil
}
