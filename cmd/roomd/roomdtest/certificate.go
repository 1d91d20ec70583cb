package roomdtest

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"roomd/netsvc/netsvctest"
)

// Certificate makes a certificate for 127.0.0.1, of that name and valid for that time, and its
// key, in dir/cert.pem and dir/key.pem, which are put in place as a renewal does it.
func Certificate(t testing.TB, dir, name string, from, until time.Time) {
	t.Helper()
	made := netsvctest.Certificate(t, name, from, until)
	secret, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	Must(t, err)
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: made.Leaf.Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		path := filepath.Join(dir, file)
		Must(t, os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600))
		Must(t, os.Rename(path+".new", path))
	}
}
