//go:build !linux

package passwd

import "golang.org/x/crypto/argon2"

func argon2id(password string, h hash) ([]byte, error) {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum))), nil
}
