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

// tagKey is known to this process alone.
var tagKey = func() []byte {
	k := make([]byte, sha256.Size)
	rand.Read(k)
	return k
}()

// tag stands for a password in memory.
func tag(text string) *[sha256.Size]byte {
	h := hmac.New(sha256.New, tagKey)
	h.Write([]byte(text))
	return (*[sha256.Size]byte)(h.Sum(nil))
}

// Password is a room's password. On disk there is only a hash that is expensive to
// guess against. Once somebody has given the right one, or set it, its tag is
// known, and every comparison from then on costs nothing.
type Password struct {
	hash string
	tag  atomic.Pointer[[sha256.Size]byte]

	// Guarded by Guesses.mu.
	inside map[netip.Prefix]time.Time // when addresses last were inside
	whole  time.Time                  // when the burst of strangers' wrong passwords is whole again
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
// ErrFreezing or the one of ctx.
func New(ctx context.Context, freeze <-chan struct{}, text string) (*Password, error) {
	if err := hashing.take(ctx, freeze, maker); err != nil {
		return nil, err
	}
	defer hashing.give()
	p := FromHash(newHash(text))
	p.tag.Store(tag(text))
	return p, nil
}

// Hash is what is kept on disk; of no password "".
func (p *Password) Hash() string {
	if p == nil {
		return ""
	}
	return p.hash
}

// matches reports whether a password is the right one. The first comparisons may
// have to wait for their turn, according to their rank.
func (p *Password) matches(ctx context.Context, freeze <-chan struct{}, text string, as rank) (bool, error) {
	given := tag(text)
	if known := p.tag.Load(); known != nil {
		return subtle.ConstantTimeCompare(known[:], given[:]) == 1, nil
	}
	if err := hashing.take(ctx, freeze, as); err != nil {
		return false, err
	}
	defer hashing.give()
	if known := p.tag.Load(); known != nil { // meanwhile
		return subtle.ConstantTimeCompare(known[:], given[:]) == 1, nil
	}
	h, err := parseHash(p.hash)
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare(h.sum, h.of(text)) != 1 {
		return false, nil
	}
	p.tag.Store(given)
	return true, nil
}
