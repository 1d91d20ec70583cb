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

// Program returns the path and the SHA-256 of the file that an upgrade runs. An empty binary
// stands for the file that is now at the path ours. A caller that is not trusted may only name
// a roomd that nobody but root and the user of this process can write or replace, because it
// runs with the rights of that user. The path is without links, so that no link can change
// between this check and the start.
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
		return path, "", fmt.Errorf("%s is not a regular file", path)
	}
	if guarded && !isRoomd(f) {
		return path, "", fmt.Errorf("%s is not a roomd program", path)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return path, "", err
	}
	return path, hex.EncodeToString(h.Sum(nil)), nil
}

// checkOwners returns an error if a user other than root and the user of this process can
// write to the file or replace it. It checks every folder from the root down. A sticky folder
// (as /tmp), where a user can create files but not remove those of others, is safe; then the
// owner of the file decides.
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
			return fmt.Errorf("other users than root and the user of the server can write to %s: only those two may upgrade to a program there", at)
		}
	}
	return nil
}

// isRoomd reports whether a file is a program of the same main package as this one.
func isRoomd(f *os.File) bool {
	own, ok := debug.ReadBuildInfo()
	its, err := buildinfo.Read(f)
	return ok && err == nil && its.Path == own.Path
}
