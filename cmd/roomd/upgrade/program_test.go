package upgrade

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomd/cmd/roomd/roomdtest"
)

// A caller that is neither root nor the server's user may name a roomd only, and only
// where nobody but these two can have put it.
func TestProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	roomdtest.Must(t, err)
	self, err = filepath.EvalSymlinks(self)
	roomdtest.Must(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	roomdtest.Must(t, err)
	at := func(name string) string { return filepath.Join(dir, name) }
	b, err := os.ReadFile(self)
	roomdtest.Must(t, err)
	for _, name := range []string{"all", "group", "own", "sticky", "with"} {
		roomdtest.Must(t, os.Mkdir(at(name), 0o755), os.WriteFile(at(name+"/roomd"), b, 0o755))
	}
	roomdtest.Must(t, os.Chmod(at("all"), 0o777), os.Chmod(at("group"), 0o775), os.Chmod(at("sticky"), 0o777|os.ModeSticky), os.Chmod(at("with/roomd"), 0o775),
		os.Symlink(at("own/roomd"), at("all/link")), os.Symlink(at("all"), at("own/in-all")), os.WriteFile(at("own/script"), []byte("#!/bin/sh\n"), 0o755))
	refused := map[string]string{
		at("all/roomd"): at("all"), at("group/roomd"): at("group"), at("with/roomd"): at("with/roomd"), at("own/in-all/roomd"): at("all"),
		at("own/script"): "is not a roomd", "/bin/true": "is not a roomd", at("own"): "is not a regular file", at("none"): "no such file",
	}
	if os.Getuid() == 0 {
		roomdtest.Must(t, os.Mkdir(at("theirs"), 0o755), os.WriteFile(at("theirs/roomd"), b, 0o755), os.Chown(at("theirs"), 65533, 0),
			os.WriteFile(at("sticky/theirs"), b, 0o755), os.Chown(at("sticky/theirs"), 65533, 0))
		refused[at("theirs/roomd")], refused[at("sticky/theirs")] = at("theirs"), at("sticky/theirs")
	}
	for path, why := range refused {
		if got, _, err := Program(path, at("all/roomd"), false); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %s %v", path, got, err)
		}
	}
	sum := roomdtest.Sum(t, self)
	for path, want := range map[string]string{at("own/roomd"): at("own/roomd"), at("sticky/roomd"): at("sticky/roomd"), at("all/link"): at("own/roomd"), "": at("all/roomd")} {
		if got, gotSum, err := Program(path, at("all/roomd"), false); err != nil || got != want || gotSum != sum {
			t.Errorf("%s: %s %s %v", path, got, gotSum, err)
		}
	}
	for _, path := range []string{at("all/roomd"), at("own/script"), at("with/roomd")} { // of whom could run it anyway
		if got, gotSum, err := Program(path, at("all/roomd"), true); err != nil || got != path || gotSum != roomdtest.Sum(t, path) {
			t.Errorf("%s: %s %s %v", path, got, gotSum, err)
		}
	}
}
