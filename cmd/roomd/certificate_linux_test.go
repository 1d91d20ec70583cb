package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"roomd/cmd/roomd/config"
)

// From 14 days before its end on a certificate is warned of once a day, until it is
// renewed, which needs neither a newcomer nor a reload.
func TestCertificateIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		began := time.Now()
		writeKeyPairFor(t, dir, "first", began.Add(-day), began.Add(20*day+time.Hour))
		log := new(strings.Builder)
		c := config.Default()
		c.TLS.Cert, c.TLS.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		k, err := loadKeyPair(c, slog.New(slog.NewJSONHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		var pair atomic.Pointer[keyPair]
		pair.Store(k)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); attendCertificate(ctx, &pair) }()
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
		if sleep(6 * day); len(lines()) > 0 || k.about().Trouble != "" {
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
			if a := k.about(); a.Trouble == "" || a.Holds != (left > 0) {
				t.Errorf("%d days before: %+v", left, a)
			}
		}
		writeKeyPairFor(t, dir, "second", time.Now().Add(day), time.Now().Add(90*day))
		sleep(lookAgain)
		if got := lines(); len(got) != 2 || got[0] != "INFO the certificate was renewed" || got[1] != "WARN the certificate is not valid yet: clients refuse it" {
			t.Errorf("renewed: %q", got)
		}
		if since := k.about().Since; time.Since(since) > lookAgain {
			t.Errorf("it was renewed at %v", since)
		}
		if sleep(2 * day); len(lines()) > 1 || k.about().Trouble != "" || !k.about().Holds {
			t.Errorf("%+v", k.about())
		}
		cancel()
		<-done
	})
}

// When a certificate expires, and when it was renewed, is in the status, with the
// metrics and in the log, and doctor knows what is wrong with it.
func TestCertificateIsKnown(t *testing.T) {
	t.Parallel()
	port := nextPort.Add(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }", port))
	now := time.Now()
	soon := now.Add(3*24*time.Hour + time.Hour).Truncate(time.Second)
	writeKeyPairFor(t, p.dir, "soon", now.Add(-time.Hour), soon)
	p.start()
	type status struct {
		Expires time.Time `json:"certificate_expires"`
		Renewed time.Time `json:"certificate_renewed"`
	}
	look := func() (s status) {
		out, errs, code := p.admin("status", "--json")
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitDone {
			t.Fatal(code, errs, err)
		}
		return s
	}
	level := func() string {
		for _, f := range findings(t, p) {
			if f.About == "certificate" {
				return f.Level
			}
		}
		return ""
	}
	metric := func(name string) string {
		text, _ := get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		_, rest, _ := strings.Cut(text, "\nroomd_certificate_"+name+"_timestamp_seconds ")
		value, _, _ := strings.Cut(rest, "\n")
		var f float64
		fmt.Sscan(value, &f)
		return fmt.Sprint(int64(f))
	}
	eventually(t, "the log warns of it", func() bool { return p.logged("the certificate expires in 3 days") })
	first := look()
	if !first.Expires.Equal(soon) || first.Renewed.Before(now.Add(-time.Second)) {
		t.Errorf("%+v", first)
	}
	if got := level(); got != "risk" {
		t.Errorf("doctor: %q", got)
	}
	if metric("expiry") != fmt.Sprint(soon.Unix()) || metric("renewed") != fmt.Sprint(first.Renewed.Unix()) {
		t.Error("the metrics say", metric("expiry"), metric("renewed"))
	}
	// A reload that changes nothing renews nothing.
	p.reload()
	if got := look(); !got.Renewed.Equal(first.Renewed) {
		t.Errorf("%+v after a reload, %+v before", got, first)
	}
	later := now.Add(90 * 24 * time.Hour).Truncate(time.Second)
	writeKeyPairFor(t, p.dir, "later", now.Add(-time.Hour), later)
	p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "it is renewed", func() bool { return look().Expires.Equal(later) })
	if !look().Renewed.After(first.Renewed) || level() != "" || metric("expiry") != fmt.Sprint(later.Unix()) || !p.logged("the certificate was renewed") {
		t.Errorf("%+v, doctor %q, the metrics say %s", look(), level(), metric("expiry"))
	}
	writeKeyPairFor(t, p.dir, "over", now.Add(-time.Hour), now.Add(-time.Minute))
	p.reload()
	if got := level(); got != "problem" || !p.logged("the certificate has expired") {
		t.Errorf("expired: doctor says %q", got)
	}
}
