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

// tag stands for a password in memory: a key of its own, and what HMAC-SHA256 makes
// of the password with it.
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

// matches reports whether a password is the one that the tag stands for.
func (t *tag) matches(text string) bool {
	given := t.of(text)
	return subtle.ConstantTimeCompare(t.sum[:], given[:]) == 1
}

// Password is a room's password. On disk there is only a hash that is expensive to
// guess against. Once somebody has given the right one, or set it, its tag is
// known, and every comparison from then on costs nothing.
type Password struct {
	hash string
	tag  atomic.Pointer[tag]

	// Guarded by Guesses.mu.
	members map[netip.Prefix]time.Time // when addresses last were inside
	fullAt  time.Time                  // when the burst of strangers' wrong passwords is whole again
}

// FromHash makes a Password of its hash, which is parsed when the first password
// is compared. Without a hash it is nil: there is no password.
func FromHash(hash string) *Password {
	if hash == "" {
		return nil
	}
	return &Password{hash: hash}
}

// New hashes a password that has been prepared for comparison. It waits for its
// turn, behind the passwords of strangers that are compared. The error is Held,
// ErrSuspended or the one of ctx.
func New(ctx context.Context, suspend <-chan struct{}, text string) (*Password, error) {
	if err := hashing.acquire(ctx, suspend, newPassword); err != nil {
		return nil, err
	}
	defer hashing.release()
	p := FromHash(newHash(text))
	p.tag.Store(newTag(text))
	return p, nil
}

// Hash is what is kept on disk; of no password "".
func (p *Password) Hash() string {
	if p == nil {
		return ""
	}
	return p.hash
}

// Tag is the tag, for SetTag in the process that takes over: its first comparisons
// are not to cost a hash each. It must not be written down. It is nil while the right
// password is not known, and of no password.
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

// SetTag takes over what Tag returned. Nothing is known then if it was nil.
func (p *Password) SetTag(b []byte) {
	if t := new(tag); len(b) == len(t.key)+len(t.sum) {
		copy(t.sum[:], b[copy(t.key[:], b):])
		p.tag.Store(t)
	}
}

// matches reports whether a password is the right one. The first comparisons may
// have to wait for their turn, according to their rank.
func (p *Password) matches(ctx context.Context, suspend <-chan struct{}, text string, as rank) (bool, error) {
	if known := p.tag.Load(); known != nil {
		return known.matches(text), nil
	}
	if err := hashing.acquire(ctx, suspend, as); err != nil {
		return false, err
	}
	defer hashing.release()
	if known := p.tag.Load(); known != nil { // meanwhile
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
