package upgrade

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
)

// Program finds the file that an upgrade is to run, and its SHA-256; for "" the one that
// is now where ours was. A caller that is not trusted may name a roomd only, which nobody
// can have written or replaced but root and the user of this process: it is run with the
// rights of that user. The path is without links, so that none can be changed between
// the look and the start.
func Program(binary, ours string, trusted bool) (path, sum string, err error) {
	if path, err = filepath.Abs(cmp.Or(binary, ours)); err != nil {
		return "", "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", "", err
	}
	guarded := binary != "" && !trusted
	if guarded {
		if err := checkOwners(path); err != nil {
			return path, "", err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return path, "", err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return path, "", fmt.Errorf("%s is not a file", path)
	}
	if guarded && !isRoomd(f) {
		return path, "", fmt.Errorf("%s is not a roomd", path)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return path, "", err
	}
	return path, hex.EncodeToString(h.Sum(nil)), nil
}

// checkOwners refuses a path that others than root and the user of this process can
// write to, or lead elsewhere. It looks from the root down: what is below a folder
// that only they can change stays what it is. In a folder where everybody may make
// files and nobody remove those of others (sticky, as /tmp is) it is the file that
// counts.
func checkOwners(path string) error {
	at := string(filepath.Separator)
	for _, name := range append([]string{""}, strings.Split(path, at)...) {
		at = filepath.Join(at, name)
		st, err := os.Lstat(at)
		if err != nil {
			return err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		owner := ok && (sys.Uid == 0 || int(sys.Uid) == os.Geteuid())
		open := st.Mode().Perm()&0o022 != 0 && st.Mode()&(os.ModeDir|os.ModeSticky) != os.ModeDir|os.ModeSticky
		if !owner || open {
			return fmt.Errorf("others than root and the server's user can write to %s: only these two may name a program there", at)
		}
	}
	return nil
}

// isRoomd reports whether a file is a program of the same package as this one.
func isRoomd(f *os.File) bool {
	own, ok := debug.ReadBuildInfo()
	its, err := buildinfo.Read(f)
	return ok && err == nil && its.Path == own.Path
}
