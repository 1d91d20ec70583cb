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

// Report is the result of the checks.
type Report struct {
	Failures []string // serve would not start, or could not serve
	Warnings []string // serve would start without it

	Database         string    // a remark about the database, as the end of a sentence; or ""
	CertificateUntil time.Time // when the certificate expires; zero: there is none
}

// Serve checks everything that serve does with a configuration. runningConfig asks the server
// at an admin socket for its configuration; it is empty if the server does not answer. The
// error says why the checks are not possible.
func Serve(cfg *config.Config, inEffect func(socket string) map[string]string) (Report, error) {
	t := &checker{cfg: cfg, runningConfig: inEffect, owner: ownerOf(cfg.Server.Data), now: time.Now()}
	err := t.owner.run(t.run)
	return t.Report, err
}

// checker is a Report in the making.
type checker struct {
	Report
	cfg           *config.Config
	runningConfig func(socket string) map[string]string
	owner         owner
	now           time.Time
	running       bool // a server has the database
}

func (t *checker) fail(key, format string, args ...any) {
	t.Failures = append(t.Failures, key+": "+fmt.Sprintf(format, args...))
}

func (t *checker) warn(key, format string, args ...any) {
	t.Warnings = append(t.Warnings, key+": "+fmt.Sprintf(format, args...))
}

// access reports whether the owner has these rights to a file or a folder, and adds a failure
// if not.
func (t *checker) access(key, path string, mode uint32) bool {
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	if err != nil {
		t.fail(key, "%v", t.asOwner(&fs.PathError{Op: "use", Path: path, Err: err}))
	}
	return err == nil
}

// asOwner adds the name of the owner to an error of missing rights.
func (t *checker) asOwner(err error) error {
	if t.owner.name != "" && (errors.Is(err, fs.ErrPermission)) {
		return fmt.Errorf("%w (as %s)", err, t.owner.name)
	}
	return err
}

const (
	readAccess   = unix.R_OK
	writeAccess  = unix.R_OK | unix.W_OK
	folderAccess = unix.W_OK | unix.X_OK // a folder
)

// run runs with the rights of the owner.
func (t *checker) run() {
	if c := t.cfg; c.Path != "" {
		t.access("configuration", c.Path, readAccess)
	}
	t.checkDatabase()
	t.checkCertificate()
	t.checkAdmin()
	t.checkPorts()
}

func (t *checker) checkDatabase() {
	const key = "server.data"
	path, err := disk.RealPath(t.cfg.Server.Data)
	if err != nil {
		t.fail(key, "%v", t.asOwner(err))
		return
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); err != nil {
		t.fail(key, "%v; create the folder", t.asOwner(err))
		return
	} else if !st.IsDir() {
		t.fail(key, "%s is not a folder", dir)
		return
	}
	right := t.access(key, dir, folderAccess)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Database = ", which the first start creates"
		t.checkFirstRooms()
		return
	case err != nil:
		t.fail(key, "%v", t.asOwner(err))
		return
	case !st.Mode().IsRegular():
		t.fail(key, "%s is not a regular file", path)
		return
	}
	for _, f := range store.Files(path) {
		if _, err := os.Lstat(f); err == nil {
			right = t.access(key, f, writeAccess) && right
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
		t.fail(key, "%v", t.asOwner(err))
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

func (t *checker) checkCertificate() {
	c := t.cfg.TLS
	if c.Cert == "" {
		return
	}
	if right := t.access("tls.cert", c.Cert, readAccess); !t.access("tls.key", c.Key, readAccess) || !right {
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
	t.CertificateUntil = until
}
