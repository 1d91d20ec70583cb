package netsvc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"roomd/netsvc/wire"
	"roomd/store"
)

// What a hash costs: 7 MiB and five passes, some 20 ms. Of the settings that the
// OWASP password storage page holds to be equally strong it is the one with the
// least memory, which is what two that are made at once compete for.
const (
	hashPasses = 5
	hashMemory = 7 << 10 // KiB
	hashBytes  = 32

	makeTime = 5 * time.Second // that a new password waits for its turn
)

// tagKey is known to this process alone.
var tagKey = func() []byte {
	k := make([]byte, sha256.Size)
	rand.Read(k)
	return k
}()

// tag stands for a password in memory.
func tag(password string) *[sha256.Size]byte {
	h := hmac.New(sha256.New, tagKey)
	h.Write([]byte(password))
	return (*[sha256.Size]byte)(h.Sum(nil))
}

// lock is a room's password. On disk there is only a hash that is dear to guess
// against. Once somebody has given the right one, or set it, its tag is known,
// and every comparison from then on costs nothing.
type lock struct {
	hash string // as it is in the store
	tag  atomic.Pointer[[sha256.Size]byte]

	// Guarded by gate.mu.
	inside  map[netip.Prefix]time.Time // when addresses last were inside
	guessed time.Time                  // what strangers have paid for: when guessesRoom is whole again
}

// newLock makes a lock of what the store has; nil: there is no password.
func newLock(hash string) *lock {
	if hash == "" {
		return nil
	}
	return &lock{hash: hash}
}

// lockWith makes a lock for a password that has passed wire.ParsePassword.
func lockWith(ctx context.Context, still <-chan struct{}, password string) (*lock, error) {
	if err := hashing.take(ctx, still, ofMaker); err != nil {
		return nil, err
	}
	defer hashing.give()
	h := hash{passes: hashPasses, memory: hashMemory, threads: 1, salt: make([]byte, 16), sum: make([]byte, hashBytes)}
	rand.Read(h.salt)
	sum, err := argon2id(password, h)
	if err != nil {
		return nil, err
	}
	l := newLock(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(sum)))
	l.tag.Store(tag(password))
	return l, nil
}

// opens reports whether a password is the right one. The first comparisons may
// have to wait for their turn, according to their rank.
func (l *lock) opens(ctx context.Context, still <-chan struct{}, password string, as rank) (bool, error) {
	given := tag(password)
	if known := l.tag.Load(); known != nil {
		return subtle.ConstantTimeCompare(known[:], given[:]) == 1, nil
	}
	if err := hashing.take(ctx, still, as); err != nil {
		return false, err
	}
	defer hashing.give()
	if known := l.tag.Load(); known != nil { // meanwhile
		return subtle.ConstantTimeCompare(known[:], given[:]) == 1, nil
	}
	h, err := parseHash(l.hash)
	if err != nil {
		return false, err
	}
	sum, err := argon2id(password, h)
	if err != nil || subtle.ConstantTimeCompare(h.sum, sum) != 1 {
		return false, err
	}
	l.tag.Store(given)
	return true, nil
}

type hash struct {
	passes, memory uint32
	threads        uint8
	salt, sum      []byte
}

// parseHash reads a hash, $argon2id$v=19$m=…,t=…,p=…$salt$sum. It takes none
// that would cost more than those of a few years from now.
func parseHash(s string) (h hash, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, fmt.Errorf("the password's hash is of no known kind")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return h, fmt.Errorf("the password's hash: %w", err)
	}
	if h.memory < 8 || h.memory > 1<<20 || h.passes < 1 || h.passes > 100 || h.threads < 1 {
		return h, fmt.Errorf("the password's hash has costs out of range")
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err == nil {
		h.sum, err = base64.RawStdEncoding.DecodeString(parts[5])
	}
	if err != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, fmt.Errorf("the password's hash is damaged")
	}
	return h, nil
}

// SetPassword gives a room a password, on disk before it returns, or takes it
// away: "". Who is in the room stays.
func (s *Service) SetPassword(name, password string) error {
	end, err := s.alterOrRefuse()
	if err != nil {
		return err
	}
	defer end()
	r, err := s.room(name)
	if err != nil {
		return err
	}
	var l *lock
	if password != "" {
		if l, err = s.newPassword(password, nil); err != nil {
			return err
		}
	}
	if err := r.setLock(l); err != nil {
		return storeError(fmt.Errorf("set the password of %s: %w", r.name(), err))
	}
	return nil
}

// setLock makes l the lock of a room, on disk before it returns. Of several at
// once the store decides which is the last.
func (r *Room) setLock(l *lock) error {
	hash := ""
	if l != nil {
		hash = l.hash
	}
	k, err := r.svc.store.Update(r.id, store.Edit{Password: &hash})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.Turn > r.lockTurn {
		r.lockTurn = k.Turn
		r.lock.Store(l)
	}
	return nil
}

// newPassword makes a lock of a password as it was typed. The error is errStill if
// the caller does not wait for its turn while the server is to stand still.
func (s *Service) newPassword(typed string, still <-chan struct{}) (*lock, error) {
	p, err := wire.ParsePassword(wire.CleanString(typed))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.stop, makeTime)
	defer cancel()
	l, err := lockWith(ctx, still, p)
	switch {
	case s.stop.Err() != nil:
		return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case ctx.Err() != nil:
		return nil, wire.Errorf(wire.CodeBusy, "very many passwords are being compared; try again in a moment")
	}
	return l, err
}
