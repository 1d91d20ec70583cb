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
	// recheckInterval is how long a certificate is used before its files are looked at.
	recheckInterval = 30 * time.Second
	// warnBefore is from when on a certificate's end is warned of, once a day.
	warnBefore   = 14 * 24 * time.Hour
	warnInterval = 24 * time.Hour
)

// Pair is the certificate that newcomers are shown, and its key. When its files have
// changed they are read again: renewing it needs no word to the server. Files
// that do not fit together, as between two renames, leave the old one in use.
// A nil Pair is none: its methods say so.
type Pair struct {
	// Set by Load, then read-only.
	certFile, keyFile string
	log               *slog.Logger

	// Guarded by mu.
	mu      sync.Mutex
	cert    *tls.Certificate
	files   [2]time.Time // when those it is from were changed
	since   time.Time    // when it was taken into use
	checked time.Time
	loadErr error     // the last one, so that it is logged once
	warned  time.Time // when its end was last warned of
}

// Load reads the files, in PEM. Without a certFile it returns nil: there is none. What
// becomes of the certificate is told to log.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	if certFile == "" {
		return nil, nil
	}
	k := &Pair{certFile: certFile, keyFile: keyFile, log: log}
	if err := k.load(k.modTimes()); err != nil {
		return nil, err
	}
	return k, nil
}

// modTimes tells when the files were changed last.
func (k *Pair) modTimes() (at [2]time.Time) {
	for i, name := range []string{k.certFile, k.keyFile} {
		if st, err := os.Stat(name); err == nil {
			at[i] = st.ModTime()
		}
	}
	return at
}

// load reads the files. mu is held, or nobody else knows of k.
func (k *Pair) load(files [2]time.Time) error {
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", k.certFile, k.keyFile, err)
	}
	k.cert, k.files, k.loadErr, k.since, k.warned = &cert, files, nil, time.Now(), time.Time{}
	return nil
}

// Replaces takes over what is known of the same certificate, when the
// configuration has been read again, and says if it is another one.
func (k *Pair) Replaces(old *Pair) {
	if k == nil || old == nil {
		return
	}
	was := old.snapshot()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert.Leaf.Equal(was.cert.Leaf) {
		k.since, k.warned = was.since, was.warned
		return
	}
	k.log.Info("certificate was renewed", "file", k.certFile, "until", k.cert.Leaf.NotAfter)
}

// Watch takes up renewed files, also while nobody connects, and warns of the
// certificate's end, until ctx is done. current is the pair in use, which may come to be
// another one, or nil.
func Watch(ctx context.Context, current func() *Pair) {
	look := time.NewTicker(recheckInterval)
	defer look.Stop()
	for {
		current().CheckExpiry(time.Now())
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// CheckExpiry looks at the files, and warns once a day of a certificate that ends soon
// or does not hold.
func (k *Pair) CheckExpiry(now time.Time) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refresh(now)
	text := ValidityProblem(k.cert.Leaf.NotBefore, k.cert.Leaf.NotAfter, now)
	over := now.After(k.cert.Leaf.NotAfter) && k.warned.Before(k.cert.Leaf.NotAfter) // since it was warned of
	if text == "" || now.Sub(k.warned) < warnInterval && !over {
		return
	}
	k.warned = now
	k.log.Warn(text, "file", k.certFile, "from", k.cert.Leaf.NotBefore, "until", k.cert.Leaf.NotAfter)
}

// ValidityProblem is what is wrong with when a certificate holds, or soon will
// be; empty: nothing.
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

// GetCertificate is for tls.Config.GetCertificate; nil: there is no certificate.
func (k *Pair) GetCertificate() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k == nil {
		return nil
	}
	return k.get
}

func (k *Pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) > recheckInterval {
		k.refresh(now)
	}
	return k.cert, nil
}

// String is the certificate in use, for people; empty: there is none.
func (k *Pair) String() string {
	if k == nil {
		return ""
	}
	leaf := k.snapshot().cert.Leaf
	print := sha256.Sum256(leaf.Raw)
	return fmt.Sprintf("%s, valid until %s, SHA-256 %x", k.certFile, leaf.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"), print[:8])
}

// refresh reads the files again if they have changed. mu is held.
func (k *Pair) refresh(now time.Time) {
	k.checked = now
	files := k.modTimes()
	if files == k.files {
		return
	}
	err := k.load(files)
	switch {
	case err == nil:
		k.log.Info("certificate was renewed", "file", k.certFile, "until", k.cert.Leaf.NotAfter)
	case k.loadErr == nil || k.loadErr.Error() != err.Error():
		k.log.Error("renewed certificate cannot be used; the old one stays in use", "error", err)
		k.loadErr = err
	}
}

// snapshot is a Pair at one moment.
type snapshot struct {
	cert          *tls.Certificate
	since, warned time.Time
	loadErr       error
}

func (k *Pair) snapshot() snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return snapshot{k.cert, k.since, k.warned, k.loadErr}
}

// Status is what there is to know of the certificate in use.
type Status struct {
	File    string
	Until   time.Time
	Since   time.Time // when it was taken up
	Valid   bool      // now
	Problem string    // see ValidityProblem
	LoadErr error     // why its files, which have changed, cannot be used; nil: they can
}

// Status is the certificate in use; nil: there is none.
func (k *Pair) Status() *Status {
	if k == nil {
		return nil
	}
	s, now := k.snapshot(), time.Now()
	from, until := s.cert.Leaf.NotBefore, s.cert.Leaf.NotAfter
	return &Status{k.certFile, until, s.since, !now.Before(from) && now.Before(until), ValidityProblem(from, until, now), s.loadErr}
}
