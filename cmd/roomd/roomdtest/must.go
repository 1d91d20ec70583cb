// Package roomdtest is what the tests of the program and of its packages have in common.
// Nothing but tests imports it.
package roomdtest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// Must fails the test for any of the errors.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Sum is the SHA-256 of a file, in hex.
func Sum(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	Must(t, err)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Get is the text that a server of HTTP answers, and the status, on a connection of its own.
func Get(t testing.TB, url string) (text string, status int) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url)
	Must(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	Must(t, err)
	return string(b), r.StatusCode
}

// Begin starts a command with pipes as its standard input and output. Wait closes them.
func Begin(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser, out io.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	Must(t, err)
	out, err = cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	return in, out
}
