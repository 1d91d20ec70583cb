package remote

import (
	"crypto/rand"
	"os"
	"os/user"
	"strings"

	"roomd/netsvc/wire"
)

// LoginNick makes a nick of the name of the user of this process.
func LoginNick() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return nickFrom(name)
}

// nickFrom makes a nick of a user's name: ASCII letters and digits that a server accepts.
func nickFrom(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
	if name == "" {
		return "somebody"
	}
	name = name[:min(len(name), 20)]
	if _, err := wire.ParseNick(name); err != nil { // "operator" or "1000"
		name = "user-" + name
	}
	return name
}

// UniqueNick makes a nick of a name that nobody else has: the client recognises by it the lines that
// it sent before a lost connection.
func UniqueNick(name string) string {
	const most = 25 // characters, of the 32 that a name may have
	r := []rune(name)
	return string(r[:min(len(r), most)]) + "-" + strings.ToLower(rand.Text()[:6])
}
