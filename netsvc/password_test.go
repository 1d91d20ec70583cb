package netsvc

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"roomd/store"
)

func TestLock(t *testing.T) {
	ctx := context.Background()
	made, err := lockWith(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.hash, "$argon2id$v=19$m=7168,t=5,p=1$") || strings.Contains(made.hash, "secret") {
		t.Error("the hash is", made.hash)
	}
	read := newLock(made.hash)
	for _, l := range []*lock{made, read, read} {
		for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
			if got, err := l.opens(ctx, password, false); err != nil || got != want {
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

// What is made of a password is what the library makes of it, whatever it costs.
func TestHash(t *testing.T) {
	for memory := uint32(8); memory < 1500; memory = memory*5/4 + 1 {
		h := hash{passes: 1 + memory%4, memory: memory, threads: 1 + uint8(memory%7/6), salt: []byte("saltsalt")[:8], sum: make([]byte, 16+memory%49)}
		got, err := argon2id("secret", h)
		if want := argon2.IDKey([]byte("secret"), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %x is not %x, %v", h, got, want, err)
		}
	}
}

// Addresses that have given wrong passwords wait for each other. Who has not
// does not wait for them, and hashes of other costs are read, too.
func TestDoubt(t *testing.T) {
	// Of "secret", 19 MiB and two passes: what was made once is compared for ever.
	l := newLock("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$6G4RVhNf4sYzxbGJQzsImNwnF3BnniV+nogjylwdjiA")
	doubting <- struct{}{}
	defer func() { <-doubting }()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.opens(ctx, "wrong", true); err == nil {
		t.Error("two in doubt are compared at a time")
	}
	for range 2 {
		if ok, err := l.opens(context.Background(), "secret", false); !ok || err != nil {
			t.Error("the right one does not open:", err)
		}
	}
	if ok, err := l.opens(ctx, "secret", true); !ok || err != nil {
		t.Error("what is known has to wait:", err)
	}
	if ok, err := newLock(l.hash).opens(context.Background(), "wrong", false); ok || err != nil {
		t.Error("a wrong one opens", err)
	}
}

// Of locks that are set at the same time one is the last, and it is the same in
// memory and on disk.
func TestLocksAtOnce(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(func([]*store.Post) {})
	defer st.Close()
	den, err := st.Create(store.Room{Name: "den", Key: "den", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(New(st, Options{}), den, 0)
	for range 50 {
		var all sync.WaitGroup
		for _, hash := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				if err := r.setLock(newLock(hash)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		kept, err := st.Rooms()
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if in := r.lock.Load().hash; in != kept[0].Password {
			t.Fatalf("%q in memory, %q on disk", in, kept[0].Password)
		}
	}
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
		if _, err := newLock("x"+s).opens(context.Background(), "secret", false); err == nil {
			t.Errorf("%q opens", s)
		}
	})
}
