package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What is imported is cleaned as what is sent: an export that somebody else has
// edited moves no cursor and forges no line.
func TestImportIsCleaned(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	p.nc(p.first, strings.NewReader("hello\n"))
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	dump := p.ok("store", "export", "lobby")
	for _, r := range [][2]string{
		{`"lobby"`, `"evil"`}, {fmt.Sprintf(`"port":%d`, p.first), fmt.Sprintf(`"port":%d`, p.first+1)},
		{`"hello"`, `"a\u001b[2J\n* lobby: forged\u202e\udb40\udd00"`},
		{`"guest-1"`, `"bob> yes\n<ann` + strings.Repeat("é", 100) + `"`},
	} {
		if !strings.Contains(dump, r[0]) {
			t.Fatalf("%s is not in %s", r[0], dump)
		}
		dump = strings.Replace(dump, r[0], r[1], 1)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "dump"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := p.ok("store", "import", "dump"); !strings.Contains(out, "1 room and 1 line are") {
		t.Error(out)
	}
	p.start()
	v := p.visit(p.first + 1)
	v.until(t, "earlier line")
	said := v.until(t, "\n")
	want := "<bob\ufffd\ufffdyes\ufffd\ufffdann" + strings.Repeat("é", 19) + "> a\ufffd[2J\ufffd* lobby: forged\ufffd\ufffd\n"
	if said != want {
		t.Errorf("it says %+q, and not %+q", said, want)
	}
	v.until(t, "end of earlier lines")
	out, _, _ := p.admin("read", "evil")
	if strings.ContainsFunc(out, func(r rune) bool { return slices.Contains([]rune{0x1b, 0x202e, 0xe0100}, r) }) {
		t.Errorf("the console shows %q", out)
	}
}

// No imported line or topic looks like nobody's, or like none.
func TestImportShowsWhoSpeaks(t *testing.T) {
	p := newProcess(t, "")
	dump := fmt.Sprintf(`{"room":{"name":"dev","port":%d,"topic":"\ud834\udd59 \u2800"}}`, p.first+1) + "\n"
	for i, from := range []string{`ann `, `\ud80d\udc41`, `\u0301`} {
		dump += fmt.Sprintf(`{"seq":%d,"time":"2026-01-01T00:00:00Z","kind":"message","from":"%s","text":"hi"}`, i+1, from) + "\n"
	}
	if err := os.WriteFile(filepath.Join(p.dir, "dump"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok("store", "import", "dump")
	p.start()
	if out, _, _ := p.admin("topic", "dev"); out != "dev has no topic\n" {
		t.Errorf("%q", out)
	}
	v := p.visit(p.first + 1)
	v.until(t, "earlier lines")
	for _, want := range []string{"<ann\ufffd> hi\n", "<\ufffd> hi\n", "<\ufffd> hi\n"} {
		if got := v.until(t, "\n"); got != want {
			t.Errorf("%q, and not %q", got, want)
		}
	}
}
