package netsvc

import (
	"context"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	ctx := context.Background()
	made, err := lockWith(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(made.hash, "secret") {
		t.Error("the hash is", made.hash)
	}
	read := newLock(made.hash)
	for _, l := range []*lock{made, read, read} {
		for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
			if got, err := l.opens(ctx, password); err != nil || got != want {
				t.Errorf("%q: %v, %v", password, got, err)
			}
		}
	}
	if newLock("") != nil {
		t.Error("no password is a lock")
	}
	other, err := lockWith(ctx, "secret")
	if err != nil || other.hash == made.hash {
		t.Error("two hashes are the same", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	hashing <- struct{}{}
	if _, err := lockWith(done, "secret"); err == nil {
		t.Error("who does not wait for the turn gets a hash")
	}
	<-hashing
}

// A hash on disk that was damaged is an error, and never costs what it says.
func FuzzHash(f *testing.F) {
	for _, s := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA", "$argon2id$v=19$m=4294967295,t=9,p=255$$", "", "$$$$$",
		"$argon2id$v=19$m=8,t=1,p=1 $c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err == nil && (h.memory > 1<<20 || h.passes > 100 || h.threads == 0 || len(h.salt) < 8 || len(h.sum) < 16) {
			t.Errorf("%q is %+v", s, h)
		}
		if _, err := newLock("x"+s).opens(context.Background(), "secret"); err == nil {
			t.Errorf("%q opens", s)
		}
	})
}
