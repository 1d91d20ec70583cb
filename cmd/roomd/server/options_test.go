package server

import (
	"testing"

	"roomd/cmd/roomd/config"
)

// LIST and the message of the day of IRC name a host that clients of a room's port can reach.
func TestHostOfRooms(t *testing.T) {
	for _, c := range []struct{ server, want string }{
		{"", "localhost"},
		{`listen = ["::1"]`, "localhost"},
		{`listen = ["127.0.0.2", "127.0.0.1"]`, "localhost"},
		{`listen = ["127.0.0.2"]`, "127.0.0.2"},
		{`listen = ["127.0.0.1", "192.0.2.1"]`, ""},
		{`listen = ["0.0.0.0"]`, ""},
		{`advertise = "chat.example.org:+10000"`, "chat.example.org"},
		{`advertise = ":+10000"`, ""}, // a proxy on this machine, for others
	} {
		cfg, err := config.Parse("test", "[server]\n"+c.server, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := ircOptions(cfg, "test").Host; got != c.want {
			t.Errorf("%q: %q, want %q", c.server, got, c.want)
		}
	}
}
