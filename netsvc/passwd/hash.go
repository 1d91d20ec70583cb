package passwd

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A hash costs 7 MiB and five passes, about 20 ms. Of the settings that OWASP's password storage
// page calls equally strong it is the one with the least memory, for which concurrent hashes
// compete.
const (
	hashPasses = 5
	hashMemory = 7 << 10 // KiB
	hashBytes  = 32
)

type hash struct {
	passes, memory uint32 // memory in KiB
	threads        uint8
	salt, sum      []byte
}

// of returns the hash of a password with the salt and the costs of h.
func (h hash) of(text string) []byte {
	return argon2.IDKey([]byte(text), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
}

// parseHash reads a hash, $argon2id$v=19$m=…,t=…,p=…$salt$sum. It refuses costs that are out of
// any reasonable range.
func parseHash(s string) (h hash, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, fmt.Errorf("the hash of the password is of an unknown kind")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return h, fmt.Errorf("the hash of the password: %w", err)
	}
	if h.memory < 8 || h.memory > 1<<20 || h.passes < 1 || h.passes > 100 || h.threads < 1 {
		return h, fmt.Errorf("the hash of the password has costs that are out of range")
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err == nil {
		h.sum, err = base64.RawStdEncoding.DecodeString(parts[5])
	}
	if err != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, fmt.Errorf("the hash of the password is corrupt")
	}
	return h, nil
}

// newHash hashes a password with a new salt.
func newHash(text string) string {
	h := hash{passes: hashPasses, memory: hashMemory, threads: 1, salt: make([]byte, 16), sum: make([]byte, hashBytes)}
	rand.Read(h.salt)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.of(text)))
}
