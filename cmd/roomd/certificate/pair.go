package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"roomd/admin/english"
)

const (
	// recheckInterval is how often the files of a certificate are checked for a change.
	recheckInterval = 30 * time.Second
	// From warnBefore its expiry on, a certificate is warned of each warnInterval.
	warnBefore   = 14 * 24 * time.Hour
	warnInterval = 24 * time.Hour
)

// Pair is the certificate for new connections, and its key. When its files change, they are
// read again: a renewal needs no command to the server. If the two files do not match, as
// between two renames, the old certificate stays in use. A nil Pair means no TLS.
type Pair struct {
	// Set by Load, then read-only.
	certFile, keyFile string
	log               *slog.Logger

	// Guarded by mu.
	mu       sync.Mutex
	cert     *tls.Certificate
	modified [2]time.Time // modification times of the files that cert is from
	loaded   time.Time    // when cert was read
	checked  time.Time    // when the files were last checked
	loadErr  error        // why changed files cannot be used; logged once
	warned   time.Time    // when the last warning of the expiry was logged
}

// Load reads the files, in PEM. An empty certFile gives a nil Pair. log gets renewals,
// failed renewals and warnings.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	if certFile == "" {
		return nil, nil
	}
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log}
	if err := p.load(p.modTimes()); err != nil {
		return nil, err
	}
	return p, nil
}

// modTimes returns the modification times of the two files.
func (p *Pair) modTimes() (at [2]time.Time) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if st, err := os.Stat(name); err == nil {
			at[i] = st.ModTime()
		}
	}
	return at
}

// load reads the files. The caller holds mu, or is the only user of p.
func (p *Pair) load(modified [2]time.Time) error {
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", p.certFile, p.keyFile, err)
	}
	p.cert, p.modified, p.loadErr, p.loaded, p.warned = &cert, modified, nil, time.Now(), time.Time{}
	return nil
}

// Replaces tells p, which a reload has read, the pair that was in use: the same certificate
// keeps its times, and another one is logged as a renewal. Both may be nil.
func (p *Pair) Replaces(old *Pair) {
	if p == nil || old == nil {
		return
	}
	old.mu.Lock()
	leaf, loaded, warned := old.cert.Leaf, old.loaded, old.warned
	old.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cert.Leaf.Equal(leaf) {
		p.loaded, p.warned = loaded, warned
		return
	}
	p.logRenewal()
}

func (p *Pair) logRenewal() {
	p.log.Info("certificate was renewed", "file", p.certFile, "until", p.cert.Leaf.NotAfter)
}

// Watch reads renewed files, also while no client connects, and warns of the expiry, until
// ctx is done. current returns the pair in use, which a reload replaces; it may be nil.
func Watch(ctx context.Context, current func() *Pair) {
	tick := time.NewTicker(recheckInterval)
	defer tick.Stop()
	for {
		current().CheckExpiry(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// CheckExpiry reads renewed files, and warns once a day of a certificate that expires soon
// or is not valid now.
func (p *Pair) CheckExpiry(now time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh(now)
	leaf := p.cert.Leaf
	text := ValidityProblem(leaf.NotBefore, leaf.NotAfter, now)
	expiredSince := now.After(leaf.NotAfter) && p.warned.Before(leaf.NotAfter)
	if text == "" || now.Sub(p.warned) < warnInterval && !expiredSince {
		return
	}
	p.warned = now
	p.log.Warn(text, "file", p.certFile, "from", leaf.NotBefore, "until", leaf.NotAfter)
}

// ValidityProblem says that a certificate with these dates is not valid now or expires soon;
// it returns "" for any other certificate.
func ValidityProblem(from, until, now time.Time) string {
	switch left := until.Sub(now); {
	case now.Before(from):
		return "the certificate is not valid yet: clients refuse it"
	case left <= 0:
		return "the certificate has expired: clients refuse it"
	case left < 24*time.Hour:
		return "the certificate expires in less than a day"
	case left <= warnBefore:
		return "the certificate expires in " + english.Plural(int(left/(24*time.Hour)), "day")
	}
	return ""
}

// GetCertificate is for tls.Config.GetCertificate. It is nil for a nil Pair.
func (p *Pair) GetCertificate() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if p == nil {
		return nil
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if now := time.Now(); now.Sub(p.checked) > recheckInterval {
			p.refresh(now)
		}
		return p.cert, nil
	}
}

// String describes the certificate in use for people. It is empty for a nil Pair.
func (p *Pair) String() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	leaf := p.cert.Leaf
	print := sha256.Sum256(leaf.Raw)
	return fmt.Sprintf("%s, valid until %s, SHA-256 %x", p.certFile, leaf.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"), print[:8])
}

// refresh reads the files if they have changed. The caller holds mu.
func (p *Pair) refresh(now time.Time) {
	p.checked = now
	modified := p.modTimes()
	if modified == p.modified {
		return
	}
	err := p.load(modified)
	switch {
	case err == nil:
		p.logRenewal()
	case p.loadErr == nil || p.loadErr.Error() != err.Error():
		p.log.Error("renewed certificate cannot be used; the old one stays in use", "error", err)
		p.loadErr = err
	}
}

// Status describes the certificate in use. It has the fields of admin.Certificate.
type Status struct {
	File        string
	Expires     time.Time
	Loaded      time.Time // when it was read
	Valid       bool      // now
	Warning     string    // see ValidityProblem
	ReloadError string    // why the changed files cannot be used; empty: they can
}

// Status describes the certificate in use. It is nil for a nil Pair.
func (p *Pair) Status() *Status {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, from, until := time.Now(), p.cert.Leaf.NotBefore, p.cert.Leaf.NotAfter
	s := &Status{p.certFile, until, p.loaded, !now.Before(from) && now.Before(until), ValidityProblem(from, until, now), ""}
	if p.loadErr != nil {
		s.ReloadError = p.loadErr.Error()
	}
	return s
}
