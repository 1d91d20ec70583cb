package check

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/config"
	"roomd/store"
	"roomd/store/disk"
)

// Report is what serve would find.
type Report struct {
	Failures []string // it would not start, or could not serve
	Warnings []string // it would go on without that

	Database string    // what becomes of the database, for people, as the end of a sentence; or ""
	Until    time.Time // when the certificate expires; zero: there is none
}

// Serve tries what serve does with a configuration, without doing it. inEffect asks the
// server at an admin socket for its configuration, key by key; empty: it does not say.
// The error is that there is no way to look.
func Serve(cfg *config.Config, inEffect func(socket string) map[string]string) (Report, error) {
	t := &trial{cfg: cfg, inEffect: inEffect, owner: ownerOf(cfg.Server.Data), now: time.Now()}
	err := t.owner.do(t.run)
	return t.Report, err
}

// trial is a Report in the making.
type trial struct {
	Report
	cfg      *config.Config
	inEffect func(socket string) map[string]string
	owner    owner
	now      time.Time
	running  bool // a server has the database
}

func (t *trial) fail(key, format string, args ...any) {
	t.Failures = append(t.Failures, key+": "+fmt.Sprintf(format, args...))
}

func (t *trial) warn(key, format string, args ...any) {
	t.Warnings = append(t.Warnings, key+": "+fmt.Sprintf(format, args...))
}

// may fails if the owner has not these rights to a file or a folder.
func (t *trial) may(key, path string, mode uint32) bool {
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	if err != nil {
		t.fail(key, "%v", t.as(&fs.PathError{Op: "use", Path: path, Err: err}))
	}
	return err == nil
}

// as is an error that the owner has got.
func (t *trial) as(err error) error {
	if t.owner.name != "" && (errors.Is(err, fs.ErrPermission)) {
		return fmt.Errorf("%w (as %s)", err, t.owner.name)
	}
	return err
}

const (
	toRead   = unix.R_OK
	toWrite  = unix.R_OK | unix.W_OK
	toChange = unix.W_OK | unix.X_OK // a folder
)

// run has the owner's rights.
func (t *trial) run() {
	if c := t.cfg; c.Path != "" {
		t.may("configuration", c.Path, toRead)
	}
	t.database()
	t.certificate()
	t.console()
	t.addresses()
}

func (t *trial) database() {
	const key = "server.data"
	path, err := disk.Real(t.cfg.Server.Data)
	if err != nil {
		t.fail(key, "%v", t.as(err))
		return
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); err != nil {
		t.fail(key, "%v; make the folder", t.as(err))
		return
	} else if !st.IsDir() {
		t.fail(key, "%s is not a folder", dir)
		return
	}
	right := t.may(key, dir, toChange)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Database = ", which is made at the first start"
		t.firstRooms()
		return
	case err != nil:
		t.fail(key, "%v", t.as(err))
		return
	case !st.Mode().IsRegular():
		t.fail(key, "%s is not a file", path)
		return
	}
	for _, f := range store.Files(path) {
		if _, err := os.Lstat(f); err == nil {
			right = t.may(key, f, toWrite) && right
		}
	}
	if !right {
		return
	}
	if t.running = locked(path); t.running {
		t.Database = ", which a server has open"
		return
	}
	var used *store.InUseError
	switch _, problems, err := store.Inspect(path, false); {
	case errors.As(err, &used):
		t.running = true
	case err != nil:
		t.fail(key, "%v", t.as(err))
	default:
		for _, p := range problems {
			t.warn(key, "%s", strings.ReplaceAll(p.Error(), "\n", "; "))
		}
	}
}

// locked reports whether a server has the database open.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func (t *trial) certificate() {
	c := t.cfg.TLS
	if c.Cert == "" {
		return
	}
	if right := t.may("tls.cert", c.Cert, toRead); !t.may("tls.key", c.Key, toRead) || !right {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.fail("tls.cert", "%s with the key %s: %v", c.Cert, c.Key, err)
		return
	}
	const form = "2006-01-02 15:04 MST"
	from, until := pair.Leaf.NotBefore, pair.Leaf.NotAfter
	if trouble := certificate.ValidityProblem(from, until, t.now); trouble != "" {
		say := t.warn
		if t.now.Before(from) || !t.now.Before(until) {
			say = t.fail
		}
		say("tls.cert", "%s (%s, valid from %s to %s)", trouble, c.Cert, from.Local().Format(form), until.Local().Format(form))
	}
	t.Until = until
}
