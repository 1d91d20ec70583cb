package passwd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/argon2"
)

func TestPassword(t *testing.T) {
	ctx := context.Background()
	made, err := New(ctx, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.hash, "$argon2id$v=19$m=7168,t=5,p=1$") || strings.Contains(made.hash, "secret") {
		t.Error("the hash is", made.hash)
	}
	read := FromHash(made.hash)
	for _, l := range []*Password{made, read, read} {
		for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
			if got, err := l.matches(ctx, nil, password, stranger); err != nil || got != want {
				t.Errorf("%q: %v, %v", password, got, err)
			}
		}
	}
	if FromHash("") != nil {
		t.Error("no password is a lock")
	}
	other, err := New(ctx, nil, "secret")
	if err != nil || other.hash == made.hash {
		t.Error("two hashes are the same", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	all := allTurns(t)
	if _, err := New(done, nil, "secret"); err == nil {
		t.Error("who does not wait for the turn gets a hash")
	}
	all()
}

// The process that takes over compares without a hash what the one before could.
func TestTagIsHandedOver(t *testing.T) {
	made, err := New(t.Context(), nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	next := FromHash(made.Hash())
	if next.Tag() != nil || (*Password)(nil).Tag() != nil {
		t.Error("a tag of nothing")
	}
	next.SetTag(nil)
	next.SetTag([]byte("short"))
	if next.Tag() != nil {
		t.Error("what is no tag is taken")
	}
	next.SetTag(made.Tag())
	defer allTurns(t)() // a hash would wait for ever
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
		if got, err := next.matches(ctx, nil, password, stranger); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
}

// A hash is what the library makes of a password, whatever it costs.
func TestHash(t *testing.T) {
	for memory := uint32(8); memory < 1500; memory = memory*5/4 + 1 {
		salt, passes, threads := []byte("saltsalt"), 1+memory%4, 1+uint8(memory%7/6)
		sum := argon2.IDKey([]byte("secret"), salt, passes, memory, threads, 16+memory%49)
		p := FromHash(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, passes, threads,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)))
		for text, want := range map[string]bool{"Secret": false, "secret": true} {
			if got, err := p.matches(t.Context(), nil, text, stranger); err != nil || got != want {
				t.Errorf("%s: %q: %v, %v", p.Hash(), text, got, err)
			}
		}
	}
}

// What is compared, or made, takes a turn until the right password is known. Hashes
// of other costs are read, too.
func TestComparisonsTakeTurns(t *testing.T) {
	// Of "secret", 19 MiB and two passes: what was made once is compared for ever.
	l := FromHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$6G4RVhNf4sYzxbGJQzsImNwnF3BnniV+nogjylwdjiA")
	give := allTurns(t)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for as := range ranks {
		if _, err := l.matches(done, nil, "wrong", as); !errors.Is(err, context.Canceled) {
			t.Error("it is compared without a turn:", err)
		}
	}
	give()
	for range 2 {
		if ok, err := l.matches(context.Background(), nil, "secret", stranger); !ok || err != nil {
			t.Error("the right one does not open:", err)
		}
	}
	give = allTurns(t)
	if ok, err := l.matches(done, nil, "secret", suspect); !ok || err != nil {
		t.Error("what is known has to wait:", err)
	}
	give()
	if ok, err := FromHash(l.hash).matches(context.Background(), nil, "wrong", stranger); ok || err != nil {
		t.Error("a wrong one opens", err)
	}
}

// allTurns takes every turn for hashes, and returns what gives them back.
func allTurns(t *testing.T) (give func()) {
	n := min(max(1, runtime.GOMAXPROCS(0)/2), 8)
	for range n {
		if err := hashing.acquire(t.Context(), nil, formerMember); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for range n {
			hashing.release()
		}
	}
}

// So many work at a time as there are turns; the best rank is next, and in it the
// first. The queue is bounded, and a caller that leaves it takes no turn along.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &hashQueue{free: 1}
		take := func(as rank) {
			if err := q.acquire(t.Context(), nil, as); err != nil {
				t.Error(err)
			}
		}
		take(suspect)
		var order []rank
		for _, as := range []rank{suspect, newPassword, stranger, suspect, formerMember, stranger} {
			go func() {
				take(as)
				order = append(order, as)
				q.release()
			}()
			synctest.Wait()
		}
		leaves := func(ctx context.Context, still chan struct{}, end func(), want error) {
			go func() {
				if err := q.acquire(ctx, still, formerMember); err != want {
					t.Errorf("%v, want %v", err, want)
				}
			}()
			synctest.Wait()
			end()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		leaves(gone, nil, cancel, context.Canceled)
		still := make(chan struct{})
		leaves(t.Context(), still, func() { close(still) }, ErrSuspended)
		q.release()
		synctest.Wait()
		if want := []rank{formerMember, stranger, stranger, newPassword, suspect, suspect}; !slices.Equal(order, want) || q.free != 1 {
			t.Errorf("%v, want %v; %d free", order, want, q.free)
		}
		take(formerMember)
		for range maxQueued {
			go func() {
				take(suspect)
				q.release()
			}()
		}
		synctest.Wait()
		if err := q.acquire(t.Context(), nil, suspect); err != Busy {
			t.Errorf("one more may wait: %v", err)
		}
		go func() {
			take(stranger) // another rank has room
			q.release()
		}()
		synctest.Wait()
		q.release()
		synctest.Wait()
		if q.free != 1 {
			t.Error(q.free, "are free")
		}
	})
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
		if _, err := FromHash("x"+s).matches(context.Background(), nil, "secret", stranger); err == nil {
			t.Errorf("%q opens", s)
		}
	})
}
