package config

import (
	"slices"
	"testing"
)

func TestLookUp(t *testing.T) {
	for _, c := range []struct {
		file, env string
		uid       int
		want      []string
		named     bool
	}{
		{"", "", 1000, []string{"config.toml", "/etc/roomd/config.toml"}, false},
		{"", "", 0, []string{"/etc/roomd/config.toml"}, false},
		{"x.toml", "", 0, []string{"x.toml"}, true},
		{"x.toml", "y.toml", 1000, []string{"x.toml"}, true},
		{"", "y.toml", 0, []string{"y.toml"}, true},
	} {
		got, named := candidates(c.file, func(string) string { return c.env }, c.uid)
		if !slices.Equal(got, c.want) || named != c.named {
			t.Errorf("%+v: %v %v", c, got, named)
		}
	}
}
