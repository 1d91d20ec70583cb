package certificate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// From 14 days before its end on a certificate is warned of once a day, until it is
// renewed, which needs neither a newcomer nor a reload.
func TestCertificateIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		began := time.Now()
		roomdtest.Certificate(t, dir, "first", began.Add(-day), began.Add(20*day+time.Hour))
		log := new(strings.Builder)
		k, err := Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), slog.New(slog.NewJSONHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Watch(ctx, func() *Pair { return k }) }()
		lines := func() (all []string) {
			for l := range strings.Lines(log.String()) {
				var line struct{ Level, Msg string }
				if err := json.Unmarshal([]byte(l), &line); err != nil {
					t.Fatal(err)
				}
				all = append(all, line.Level+" "+line.Msg)
			}
			log.Reset()
			return all
		}
		sleep := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		if sleep(6 * day); len(lines()) > 0 || k.Status().Warning != "" {
			t.Error("it is warned of more than 14 days before", lines())
		}
		for left := 14; left > -2; left-- {
			sleep(day)
			want := fmt.Sprintf("WARN the certificate expires in %d days", left)
			switch {
			case left == 1:
				want = "WARN the certificate expires in 1 day"
			case left < 1:
				want = "WARN the certificate has expired: clients refuse it"
			}
			if got := lines(); len(got) != 1 || got[0] != want {
				t.Errorf("%d days before: %q, want %q", left, got, want)
			}
			if a := k.Status(); a.Warning == "" || a.Valid != (left > 0) {
				t.Errorf("%d days before: %+v", left, a)
			}
		}
		roomdtest.Certificate(t, dir, "second", time.Now().Add(day), time.Now().Add(90*day))
		sleep(recheckInterval)
		if got := lines(); len(got) != 2 || got[0] != "INFO certificate was renewed" || got[1] != "WARN the certificate is not valid yet: clients refuse it" {
			t.Errorf("renewed: %q", got)
		}
		if since := k.Status().Loaded; time.Since(since) > recheckInterval {
			t.Errorf("it was renewed at %v", since)
		}
		if sleep(2 * day); len(lines()) > 1 || k.Status().Warning != "" || !k.Status().Valid {
			t.Errorf("%+v", k.Status())
		}
		cancel()
		<-done
	})
}

// Files that change are taken up by themselves, and those that do not fit
// together are not.
func TestRenewal(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	write := func(name string) {
		t.Helper()
		roomdtest.Certificate(t, dir, name, now.Add(-time.Hour), now.Add(90*24*time.Hour))
	}
	write("first")
	log := new(strings.Builder)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	k, err := Load(certFile, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	look := func(want string) {
		t.Helper()
		k.checked = time.Time{} // as if it had been long ago
		cert, err := k.GetCertificate()(nil)
		if err != nil || cert.Leaf.Subject.CommonName != want {
			t.Errorf("%v, %v; want %s", cert.Leaf.Subject, err, want)
		}
	}
	look("first")
	write("second")
	later := time.Now().Add(time.Minute) // the clock of the file system is coarse
	for _, f := range []string{certFile, keyFile} {
		if err := os.Chtimes(f, later, later); err != nil {
			t.Fatal(err)
		}
	}
	look("second")
	old, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	write("third")
	if err := os.WriteFile(keyFile, old, 0o600); err != nil {
		t.Fatal(err)
	}
	look("second")
	look("second")
	if n := strings.Count(log.String(), "the old one stays in use"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, log)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	look("second")
	if _, err := Load(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Error("a start without the file:", err)
	}
}
