package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"roomd/admin"
	"roomd/admin/english"
	"roomd/cmd/roomd/config"
)

const (
	// lookAgain is how long a certificate is used before its files are looked at.
	lookAgain = 30 * time.Second
	// expirySoon is from when on a certificate's end is warned of, once a day.
	expirySoon = 14 * 24 * time.Hour
	remindEach = 24 * time.Hour
)

// keyPair is the certificate that newcomers are shown. When its files have
// changed they are read again: renewing it needs no word to the server. Files
// that do not fit together, as between two renames, leave the old one in use.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	files  [2]time.Time // when those it is from were changed
	since  time.Time    // when it was taken into use
	looked time.Time
	failed error     // the last one, so that it is logged once
	warned time.Time // when its end was last warned of
}

// loadKeyPair reads the certificate of the configuration; nil: there is none.
func loadKeyPair(c *config.Config, log *slog.Logger) (*keyPair, error) {
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
	k.cert, k.files, k.failed, k.since, k.warned = &cert, files, nil, time.Now(), time.Time{}
	return nil
}

// follows takes over what is known of the same certificate, when the
// configuration has been read again, and says if it is another one.
func (k *keyPair) follows(old *keyPair) {
	if k == nil || old == nil {
		return
	}
	was := old.state()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert.Leaf.Equal(was.cert.Leaf) {
		k.since, k.warned = was.since, was.warned
		return
	}
	k.log.Info("the certificate was renewed", "file", k.certFile, "until", k.cert.Leaf.NotAfter)
}

// attendCertificate takes up renewed files, also while nobody connects, and warns of the
// certificate's end, until ctx is done. pair may come to hold another one.
func attendCertificate(ctx context.Context, pair *atomic.Pointer[keyPair]) {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		pair.Load().remind(time.Now())
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// remind looks at the files, and warns once a day of a certificate that ends soon
// or does not hold.
func (k *keyPair) remind(now time.Time) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look(now)
	text := certificateTrouble(k.cert.Leaf.NotBefore, k.cert.Leaf.NotAfter, now)
	over := now.After(k.cert.Leaf.NotAfter) && k.warned.Before(k.cert.Leaf.NotAfter) // since it was warned of
	if text == "" || now.Sub(k.warned) < remindEach && !over {
		return
	}
	k.warned = now
	k.log.Warn(text, "file", k.certFile, "from", k.cert.Leaf.NotBefore, "until", k.cert.Leaf.NotAfter)
}

// certificateTrouble is what is wrong with when a certificate holds, or soon will
// be; empty: nothing.
func certificateTrouble(from, until, now time.Time) string {
	switch left := until.Sub(now); {
	case now.Before(from):
		return "the certificate is not valid yet: clients refuse it"
	case left <= 0:
		return "the certificate has expired: clients refuse it"
	case left < 24*time.Hour:
		return "the certificate expires in less than a day"
	case left <= expirySoon:
		return "the certificate expires in " + english.Plural(int(left/(24*time.Hour)), "day")
	}
	return ""
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
		k.look(now)
	}
	return k.cert, nil
}

// shown is the certificate in use as a reload tells of it.
func (k *keyPair) shown() string {
	if k == nil {
		return ""
	}
	leaf := k.state().cert.Leaf
	print := sha256.Sum256(leaf.Raw)
	return fmt.Sprintf("%s, valid until %s, SHA-256 %x", k.certFile, leaf.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"), print[:8])
}

// look reads the files again if they have changed. mu is held.
func (k *keyPair) look(now time.Time) {
	k.looked = now
	files := k.changed()
	if files == k.files {
		return
	}
	err := k.load(files)
	switch {
	case err == nil:
		k.log.Info("the certificate was renewed", "file", k.certFile, "until", k.cert.Leaf.NotAfter)
	case k.failed == nil || k.failed.Error() != err.Error():
		k.log.Error("the old certificate stays in use", "error", err)
		k.failed = err
	}
}

// certificate is a keyPair at one moment.
type certificate struct {
	cert          *tls.Certificate
	since, warned time.Time
	failed        error
}

func (k *keyPair) state() certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return certificate{k.cert, k.since, k.warned, k.failed}
}

// about is the certificate for the operator; nil: there is none.
func (k *keyPair) about() *admin.Certificate {
	if k == nil {
		return nil
	}
	s, now := k.state(), time.Now()
	from, until := s.cert.Leaf.NotBefore, s.cert.Leaf.NotAfter
	a := &admin.Certificate{
		File: k.certFile, Expires: until, Since: s.since, Holds: !now.Before(from) && now.Before(until), Trouble: certificateTrouble(from, until, now),
	}
	if s.failed != nil {
		a.Failed = s.failed.Error()
	}
	return a
}
