package irc

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// capNames returns the names of capabilities in the order of CAP LS.
func capNames(caps Caps) (names []string) {
	for _, c := range &capabilities {
		if caps.Has(c.of) {
			names = append(names, c.name)
		}
	}
	return names
}

func TestNegotiation(t *testing.T) {
	all := strings.Join(capNames(offeredCaps), " ")
	for _, c := range []struct {
		name       string
		registered bool
		says       string // lines of a client and the answers, by turns; "" is none
		want       Negotiation
	}{
		{"LS", false, "LS|CAP * LS :" + all, Negotiation{Open: true}},
		{"LS 302", false, "ls 302|CAP * LS :" + all + "|END|", Negotiation{Version: 302, Enabled: capNotify}},
		{"a newer version", true, "LS 307|CAP * LS :" + all, Negotiation{Version: 307, Enabled: capNotify}},
		{"the version stays", true, "LS 302|CAP * LS :" + all + "|LS|CAP * LS :" + all, Negotiation{Version: 302, Enabled: capNotify}},
		{"a version that is none", true, "LS x|CAP * LS :" + all, Negotiation{}},
		{"REQ opens", false, "REQ :batch server-time |CAP * ACK :batch server-time", Negotiation{Enabled: capBatch | capServerTime, Open: true}},
		{"REQ without a colon", true, "REQ batch server-time|CAP * ACK :batch server-time", Negotiation{Enabled: capBatch | capServerTime}},
		{"all or nothing", true, "REQ batch|CAP * ACK :batch|REQ :-batch server-time tls|CAP * NAK :-batch server-time tls", Negotiation{Enabled: capBatch}},
		{"in order", true, "REQ :batch -batch setname setname -away-notify|CAP * ACK :batch -batch setname setname -away-notify", Negotiation{Enabled: capSetName}},
		{"by case", true, "REQ Batch|CAP * NAK :Batch", Negotiation{}},
		{"with a value", true, "REQ sasl=PLAIN|CAP * NAK :sasl=PLAIN", Negotiation{}},
		{"not offered", true, "REQ sasl|CAP * NAK :sasl", Negotiation{}},
		{"nothing", true, "REQ :|CAP * ACK :|REQ|CAP * ACK :|REQ -|CAP * NAK :-", Negotiation{}},
		{"cap-notify by itself", true, "REQ cap-notify|CAP * ACK :cap-notify|REQ -cap-notify|CAP * ACK :-cap-notify", Negotiation{}},
		{"cap-notify with 302", true, "LS 302|CAP * LS :" + all + "|REQ -cap-notify|CAP * NAK :-cap-notify|REQ cap-notify|CAP * ACK :cap-notify", Negotiation{Version: 302, Enabled: capNotify}},
		{"LIST", true, "LIST|CAP * LIST :|REQ :setname batch|CAP * ACK :setname batch|LIST|CAP * LIST :batch setname", Negotiation{Enabled: capBatch | capSetName}},
		{"LIST does not open", false, "LIST|CAP * LIST :", Negotiation{}},
		{"END after 001", true, "END|", Negotiation{}},
		{"unknown", true, "FOO|410 * FOO :" + errInvalidCapCmd.Text() + "|ACK :batch|410 * ACK :" + errInvalidCapCmd.Text(), Negotiation{}},
		{"none", true, "|461 * CAP :" + errNeedMoreParams.Text(), Negotiation{}},
	} {
		n := Negotiation{Offered: offeredCaps}
		says := strings.Split(c.says, "|")
		for i := 0; i+1 < len(says); i += 2 {
			m, err := ParseMessage([]byte("CAP " + says[i]))
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if says[i+1] != "" {
				want = ":h " + says[i+1] + "\r\n"
			}
			if got := string(n.answer(nil, "h", "*", c.registered, m.Params)); got != want {
				t.Errorf("%s: %s: %q, want %q", c.name, says[i], got, want)
			}
		}
		if c.want.Offered = offeredCaps; n != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, n, c.want)
		}
	}
}

func TestCapValues(t *testing.T) {
	n := Negotiation{Offered: offeredCaps | capSASL}
	for params, want := range map[string]bool{"LS 302": true, "LS": false} {
		if got := string(n.answer(nil, "h", "*", false, strings.Fields(params))); strings.Contains(got, " sasl=PLAIN ") != want || strings.Contains(got, " sasl ") == want {
			t.Errorf("%s: %s", params, got)
		}
	}
}

// The list fits into one line, with the longest names, for a client that knows no others.
func TestCapLSFits(t *testing.T) {
	n := Negotiation{Offered: offeredCaps | capSASL}
	got := string(n.answer(nil, "irc.example.org", strings.Repeat("長", 32), false, []string{"LS"}))
	if !strings.HasSuffix(got, strings.Join(capNames(n.Offered), " ")+"\r\n") || len(got) > MaxLine {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestCapLines(t *testing.T) {
	host, client := strings.Repeat("h", 200), strings.Repeat("c", 100)
	for version, lines := range map[string]int{"302": 2, "301": 1} {
		n := Negotiation{Offered: offeredCaps}
		var got []string
		all := bytes.Split(bytes.TrimSuffix(n.answer(nil, host, client, true, []string{"LS", version}), []byte("\r\n")), []byte("\r\n"))
		for i, line := range all {
			m, err := ParseMessage(line)
			if err != nil {
				t.Fatal(err)
			}
			if (len(m.Params) == 4 && m.Params[2] == "*") != (i+1 < len(all)) {
				t.Errorf("%q", m.Params)
			}
			got = append(got, strings.Fields(m.Params[len(m.Params)-1])...)
		}
		if want := capNames(offeredCaps); len(all) != lines || version == "302" && !slices.Equal(got, want) || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s: %d lines: %q", version, len(all), got)
		}
	}
}

func TestCapLevels(t *testing.T) {
	for caps, want := range map[Caps]tagLevel{0: noTags, capBatch: noTags, capServerTime: timeTag, capMessageTags: allTags, capMessageTags | capServerTime: allTags} {
		if got := caps.level(); got != want {
			t.Errorf("%b: %v", caps, got)
		}
	}
	if capLabeledResponse.labels() || !(capLabeledResponse | capBatch).labels() {
		t.Error("labels")
	}
	seen := Caps(0)
	for _, c := range &capabilities {
		if seen&c.of != 0 || c.of&(c.of-1) != 0 {
			t.Errorf("%s: %b", c.name, c.of)
		}
		seen |= c.of
	}
	if seen != offeredCaps|capSASL {
		t.Errorf("%b have names", seen)
	}
}

func FuzzNegotiation(f *testing.F) {
	f.Add("LS 302\nREQ :batch -batch\nLIST\nEND", "ann")
	f.Fuzz(func(t *testing.T, lines, client string) {
		if !isMiddle(client) || len(client) > 128 {
			return
		}
		n := Negotiation{Offered: offeredCaps}
		for line := range strings.Lines(lines) {
			m, err := ParseMessage([]byte("CAP " + strings.TrimRight(line, "\r\n")))
			if err != nil {
				continue
			}
			before := n.Enabled
			b := n.answer(nil, "irc.example.org", client, false, m.Params)
			for out := range bytes.Lines(b) {
				if parseOut(t, out); len(out) > MaxLine {
					t.Fatalf("%q", out)
				}
			}
			if n.Enabled&^n.Offered != 0 || n.Enabled != before && bytes.Contains(b, []byte(" NAK ")) {
				t.Fatalf("%q: %+v", line, n)
			}
		}
	})
}
