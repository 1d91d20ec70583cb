package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgain is how long a certificate is used before its files are looked at.
const lookAgain = 30 * time.Second

// keyPair is the certificate that newcomers are shown. When its files have
// changed they are read again: renewing it needs no word to the server. Files
// that do not fit together, as between two renames, leave the old one in use.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	files  [2]time.Time // when those it is from were changed
	looked time.Time
	failed error // the last one, so that it is logged once
}

// loadKeyPair reads the certificate of the configuration; nil: there is none.
func (c *Config) loadKeyPair(log *slog.Logger) (*keyPair, error) {
	if c.TLS.Cert == "" {
		return nil, nil
	}
	k := &keyPair{certFile: c.TLS.Cert, keyFile: c.TLS.Key, log: log}
	if err := k.load(k.changed()); err != nil {
		return nil, err
	}
	return k, nil
}

// changed tells when the files were changed last.
func (k *keyPair) changed() (at [2]time.Time) {
	for i, name := range []string{k.certFile, k.keyFile} {
		if st, err := os.Stat(name); err == nil {
			at[i] = st.ModTime()
		}
	}
	return at
}

// load reads the files. mu is held, or nobody else knows of k.
func (k *keyPair) load(files [2]time.Time) error {
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", k.certFile, k.keyFile, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("read the certificate %s: %w", k.certFile, err)
		}
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) {
		k.log.Warn("the certificate has expired", "file", k.certFile, "on", cert.Leaf.NotAfter)
	}
	k.cert, k.files, k.failed = &cert, files, nil
	return nil
}

// getter is get as netsvc has it; nil: there is no certificate.
func (k *keyPair) getter() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k == nil {
		return nil
	}
	return k.get
}

// get is for tls.Config.GetCertificate.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) > lookAgain {
		k.looked = now
		if files := k.changed(); files != k.files {
			err := k.load(files)
			switch {
			case err == nil:
				k.log.Info("the certificate was read again", "file", k.certFile, "until", k.cert.Leaf.NotAfter)
			case k.failed == nil || k.failed.Error() != err.Error():
				k.log.Error("the old certificate stays in use", "error", err)
				k.failed = err
			}
		}
	}
	return k.cert, nil
}

// shown is the certificate in use as a reload tells of it.
func (k *keyPair) shown() string {
	if k == nil {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	print := sha256.Sum256(k.cert.Leaf.Raw)
	return fmt.Sprintf("%s, valid until %s, SHA-256 %x", k.certFile, k.cert.Leaf.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"), print[:8])
}

// expires is when the certificate in use does; zero: there is none.
func (k *keyPair) expires() time.Time {
	if k == nil {
		return time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cert.Leaf.NotAfter
}
