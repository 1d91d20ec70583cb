package passwd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"sync/atomic"
	"time"
)

// tag stands for a password in memory: a random key, and the HMAC-SHA256 of the password with that
// key.
type tag struct{ key, sum [sha256.Size]byte }

func newTag(text string) *tag {
	t := new(tag)
	rand.Read(t.key[:])
	t.sum = t.of(text)
	return t
}

func (t *tag) of(text string) [sha256.Size]byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write([]byte(text))
	return [sha256.Size]byte(h.Sum(nil))
}

// matches reports whether the tag stands for a password.
func (t *tag) matches(text string) bool {
	given := t.of(text)
	return subtle.ConstantTimeCompare(t.sum[:], given[:]) == 1
}

// Password is a room's password. On disk there is only a hash, which is expensive to compare with.
// Once a client has given the right password, or the operator has set it, the tag is known, and a
// comparison costs next to nothing.
type Password struct {
	hash string
	tag  atomic.Pointer[tag]

	// Guarded by Guesses.mu.
	members map[netip.Prefix]time.Time // when addresses last had a member in the room
	fullAt  time.Time                  // when the burst of the strangers' wrong passwords is full again
}

// FromHash returns the password of a hash, which is parsed at the first comparison. For "" it is
// nil: there is no password.
func FromHash(hash string) *Password {
	if hash == "" {
		return nil
	}
	return &Password{hash: hash}
}

// New hashes a password that has been prepared for comparison. In the queue it is behind the
// passwords of strangers. The error is Busy, ErrSuspended or the one of ctx.
func New(ctx context.Context, suspend <-chan struct{}, text string) (*Password, error) {
	if err := hashing.acquire(ctx, suspend, newPassword); err != nil {
		return nil, err
	}
	defer hashing.release()
	p := FromHash(newHash(text))
	p.tag.Store(newTag(text))
	return p, nil
}

// Hash returns the hash that is stored on disk; without a password "".
func (p *Password) Hash() string {
	if p == nil {
		return ""
	}
	return p.hash
}

// Tag returns the tag, for SetTag in the process that takes over: it saves that a hash for each of
// its first comparisons. It must not be stored. It is nil while the right password is not known,
// and without a password.
func (p *Password) Tag() []byte {
	if p == nil {
		return nil
	}
	t := p.tag.Load()
	if t == nil {
		return nil
	}
	return append(t.key[:], t.sum[:]...)
}

// SetTag sets the tag that Tag returned in another process, unless that was nil.
func (p *Password) SetTag(b []byte) {
	if t := new(tag); len(b) == len(t.key)+len(t.sum) {
		copy(t.sum[:], b[copy(t.key[:], b):])
		p.tag.Store(t)
	}
}

// matches reports whether a password is the right one. While the tag is not known it waits in the
// queue of hashes, according to its rank.
func (p *Password) matches(ctx context.Context, suspend <-chan struct{}, text string, as rank) (bool, error) {
	if known := p.tag.Load(); known != nil {
		return known.matches(text), nil
	}
	if err := hashing.acquire(ctx, suspend, as); err != nil {
		return false, err
	}
	defer hashing.release()
	if known := p.tag.Load(); known != nil { // another goroutine has compared the right one meanwhile
		return known.matches(text), nil
	}
	h, err := parseHash(p.hash)
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare(h.sum, h.of(text)) != 1 {
		return false, nil
	}
	p.tag.Store(newTag(text))
	return true, nil
}
