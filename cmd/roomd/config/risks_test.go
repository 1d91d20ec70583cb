package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestDeletePolicy(t *testing.T) {
	c := Default()
	check := func(policy, why string, warnings int) {
		t.Helper()
		if p, w := c.MayDelete(); p != policy || !strings.Contains(w, why) {
			t.Errorf("%s, as %s", p, w)
		}
		if w := c.exposureRisks(); len(w) != warnings {
			t.Errorf("what is open to strangers: %q", w)
		}
	}
	check("anyone", "access.delete is auto", 0)
	c.Server.Listen = append(c.Server.Listen, netip.MustParseAddr("::"))
	check("creator", "::", 3)
	c.Access.Delete, c.Access.Create, c.Limits.PerAddress, c.TLS.Cert = "operator", "operator", 5, "cert.pem"
	check("operator", "access.delete", 0)
}

// Profiles that other machines can take are warned of, wherever rooms listen.
func TestProfilesAreWarnedOf(t *testing.T) {
	for text, want := range map[string]bool{
		"metrics.listen = \"0.0.0.0:9180\"\nmetrics.profiles = true":                  true,
		"metrics.listen = \":9180\"\nmetrics.profiles = true":                         true,
		"metrics.listen = \"[::1]:9180\"\nmetrics.profiles = true":                    false,
		"metrics.listen = \"127.0.0.1:9180\"\nmetrics.profiles = true":                false,
		"metrics.listen = \"0.0.0.0:9180\"":                                           false,
		"metrics.profiles = true":                                                     false,
		"metrics = { listen = \"192.0.2.1:9180\", profiles = true, per_room = true }": true,
	} {
		c, err := Parse("config.toml", text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(c.exposureRisks(), "\n"), "profiles"); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
