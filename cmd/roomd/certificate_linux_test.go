package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// When a certificate expires, and when it was renewed, is in the status, with the
// metrics and in the log, and doctor knows what is wrong with it.
func TestCertificateIsKnown(t *testing.T) {
	t.Parallel()
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }", port))
	now := time.Now()
	soon := now.Add(3*24*time.Hour + time.Hour).Truncate(time.Second)
	roomdtest.Certificate(t, p.dir, "soon", now.Add(-time.Hour), soon)
	p.start()
	type status struct {
		Expires time.Time `json:"certificate_expires"`
		Renewed time.Time `json:"certificate_renewed"`
	}
	look := func() (s status) {
		out, errs, code := p.admin("status", "--json")
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK {
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
		text, _ := roomdtest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
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
	roomdtest.Certificate(t, p.dir, "later", now.Add(-time.Hour), later)
	p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "it is renewed", func() bool { return look().Expires.Equal(later) })
	if !look().Renewed.After(first.Renewed) || level() != "" || metric("expiry") != fmt.Sprint(later.Unix()) || !p.logged("certificate was renewed") {
		t.Errorf("%+v, doctor %q, the metrics say %s", look(), level(), metric("expiry"))
	}
	roomdtest.Certificate(t, p.dir, "over", now.Add(-time.Hour), now.Add(-time.Minute))
	p.reload()
	if got := level(); got != "problem" || !p.logged("the certificate has expired") {
		t.Errorf("expired: doctor says %q", got)
	}
}
