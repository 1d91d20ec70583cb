package wire_test

import (
	"go/build"
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

// The package is pure: it can be tested without a network, and every part of the server can
// use it.
func TestImports(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkg.Imports {
		first, _, _ := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(path, "golang.org/x/text/"):
		case first == "net" || first == "os" || first == "sync" || strings.Contains(first, ".") || first == "roomd":
			t.Errorf("wire must not import %s", path)
		}
	}
}

func TestErrorf(t *testing.T) {
	var err error = wire.Errorf(wire.CodeExists, "a room named %s is already there", "lobby")
	if got := err.Error(); got != "a room named lobby is already there" {
		t.Errorf("%q", got)
	}
}
