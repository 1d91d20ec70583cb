package upgrade

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// must fails the test for any of the errors.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sumOf is the SHA-256 of a file.
func sumOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A caller that is neither root nor the server's user may name a roomd only, and only
// where nobody but these two can have put it.
func TestProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	self, err = filepath.EvalSymlinks(self)
	must(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	at := func(name string) string { return filepath.Join(dir, name) }
	b, err := os.ReadFile(self)
	must(t, err)
	for _, name := range []string{"all", "group", "own", "sticky", "with"} {
		must(t, os.Mkdir(at(name), 0o755), os.WriteFile(at(name+"/roomd"), b, 0o755))
	}
	must(t, os.Chmod(at("all"), 0o777), os.Chmod(at("group"), 0o775), os.Chmod(at("sticky"), 0o777|os.ModeSticky), os.Chmod(at("with/roomd"), 0o775),
		os.Symlink(at("own/roomd"), at("all/link")), os.Symlink(at("all"), at("own/in-all")), os.WriteFile(at("own/script"), []byte("#!/bin/sh\n"), 0o755))
	refused := map[string]string{
		at("all/roomd"): at("all"), at("group/roomd"): at("group"), at("with/roomd"): at("with/roomd"), at("own/in-all/roomd"): at("all"),
		at("own/script"): "is not a roomd", "/bin/true": "is not a roomd", at("own"): "is not a file", at("none"): "no such file",
	}
	if os.Getuid() == 0 {
		must(t, os.Mkdir(at("theirs"), 0o755), os.WriteFile(at("theirs/roomd"), b, 0o755), os.Chown(at("theirs"), 65533, 0),
			os.WriteFile(at("sticky/theirs"), b, 0o755), os.Chown(at("sticky/theirs"), 65533, 0))
		refused[at("theirs/roomd")], refused[at("sticky/theirs")] = at("theirs"), at("sticky/theirs")
	}
	for path, why := range refused {
		if got, _, err := Program(path, at("all/roomd"), false); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %s %v", path, got, err)
		}
	}
	sum := sumOf(t, self)
	for path, want := range map[string]string{at("own/roomd"): at("own/roomd"), at("sticky/roomd"): at("sticky/roomd"), at("all/link"): at("own/roomd"), "": at("all/roomd")} {
		if got, gotSum, err := Program(path, at("all/roomd"), false); err != nil || got != want || gotSum != sum {
			t.Errorf("%s: %s %s %v", path, got, gotSum, err)
		}
	}
	for _, path := range []string{at("all/roomd"), at("own/script"), at("with/roomd")} { // of whom could run it anyway
		if got, gotSum, err := Program(path, at("all/roomd"), true); err != nil || got != path || gotSum != sumOf(t, path) {
			t.Errorf("%s: %s %s %v", path, got, gotSum, err)
		}
	}
}
