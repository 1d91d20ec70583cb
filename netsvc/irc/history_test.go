package irc

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMsgID(t *testing.T) {
	for id, want := range map[string][2]uint64{
		"1z-812": {71, 812}, "0-0": {0, 0}, "3w5e11264sgsf-18446744073709551615": {math.MaxUint64, math.MaxUint64},
	} {
		room, seq, ok := ParseMsgID(id)
		if !ok || room != want[0] || seq != want[1] || MsgID(room, seq) != id {
			t.Errorf("%s: %d, %d, %v", id, room, seq, ok)
		}
	}
	for _, id := range []string{"", "-", "1z", "1z-", "-1", "1Z-812", "01z-812", "1z-0812", "1z-+812", "1z-812-1", "1z- 812", "3w5e11264sgsg-1", "1z-18446744073709551616"} {
		if room, seq, ok := ParseMsgID(id); ok {
			t.Errorf("%q: %d, %d", id, room, seq)
		}
	}
}

func TestServerTime(t *testing.T) {
	if got := string(appendServerTime(nil, noon.In(time.FixedZone("", 3600)))); got != "2026-11-23T12:00:00.123Z" {
		t.Error(got)
	}
	for s, want := range map[string]time.Time{
		"2026-11-23T12:00:00.123Z":    noon.Truncate(time.Millisecond),
		"2026-11-23T12:00:00Z":        noon.Truncate(time.Second),
		"2026-11-23T12:00:00.123456Z": noon.Truncate(time.Microsecond),
		"2016-12-31T23:59:60.419Z":    time.Date(2017, 1, 1, 0, 0, 0, 419e6, time.UTC),
	} {
		if got, err := parseServerTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "now", "2026-11-23", "2026-11-23T12:00:00", "2026-11-23T12:00:00+01:00", "2026-13-23T12:00:00Z", "2016-12-31T23:59:61Z", "2016-12-31T23:60:00Z"} {
		if got, err := parseServerTime(s); err == nil {
			t.Errorf("%s: %v", s, got)
		}
	}
	b := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { b = appendMsgID(appendServerTime(b[:0], noon), 71, 812) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseHistory(t *testing.T) {
	at := noon.Truncate(time.Millisecond)
	for line, want := range map[string]historyRequest{
		"LATEST #a * 50":                                                                  {command: "LATEST", target: "#a", from: selector{any: true}, limit: 50},
		"latest #a msgid=1z-812 101":                                                      {command: "LATEST", target: "#a", from: selector{room: 71, seq: 812}, limit: 100},
		"BEFORE bob timestamp=2026-11-23T12:00:00.123Z 1":                                 {command: "BEFORE", target: "bob", from: selector{time: at}, limit: 1},
		"AFTER #a msgid=1z-812 99999999999999999999999999":                                {command: "AFTER", target: "#a", from: selector{room: 71, seq: 812}, limit: 100},
		"AROUND #a msgid=1z-812 100":                                                      {command: "AROUND", target: "#a", from: selector{room: 71, seq: 812}, limit: 100},
		"BETWEEN #a msgid=1z-812 timestamp=2026-11-23T12:00:00.123Z 7":                    {command: "BETWEEN", target: "#a", from: selector{room: 71, seq: 812}, to: selector{time: at}, limit: 7},
		"TARGETS timestamp=2026-11-23T12:00:00.123Z timestamp=2026-11-23T12:00:00.123Z 7": {command: "TARGETS", from: selector{time: at}, to: selector{time: at}, limit: 7},
	} {
		if got, err := parseHistory(strings.Fields(line)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"":                         "FAIL CHATHISTORY INVALID_PARAMS * ",
		"NEWEST #a * 50":           "FAIL CHATHISTORY INVALID_PARAMS NEWEST ",
		"LATEST":                   "FAIL CHATHISTORY INVALID_PARAMS LATEST ",
		"LATEST #a *":              "FAIL CHATHISTORY INVALID_PARAMS LATEST ",
		"LATEST #a * 50 1":         "FAIL CHATHISTORY INVALID_PARAMS LATEST ",
		"BEFORE #a * 50":           "FAIL CHATHISTORY INVALID_PARAMS BEFORE * ",
		"BEFORE #a 812 50":         "FAIL CHATHISTORY INVALID_PARAMS BEFORE 812 ",
		"BEFORE #a seq=812 50":     "FAIL CHATHISTORY INVALID_MSGREFTYPE BEFORE #a seq=812 ",
		"BEFORE #a msgid=x 50":     "FAIL CHATHISTORY INVALID_PARAMS BEFORE msgid=x ",
		"BEFORE #a msgid=1z-0 50":  "FAIL CHATHISTORY INVALID_PARAMS BEFORE msgid=1z-0 ",
		"BEFORE #a timestamp=x 50": "FAIL CHATHISTORY INVALID_PARAMS BEFORE timestamp=x ",
		"LATEST #a * 0":            "FAIL CHATHISTORY INVALID_PARAMS LATEST 0 ",
		"LATEST #a * -5":           "FAIL CHATHISTORY INVALID_PARAMS LATEST -5 ",
		"LATEST #a * x":            "FAIL CHATHISTORY INVALID_PARAMS LATEST x ",
		"TARGETS msgid=1-1 x 9":    "FAIL CHATHISTORY INVALID_MSGREFTYPE TARGETS * msgid=1-1 ",
		"BETWEEN #a msgid=1-1 * 9": "FAIL CHATHISTORY INVALID_PARAMS BETWEEN * ",
	} {
		_, err := parseHistory(strings.Fields(line))
		var f *Failure
		if !errors.As(err, &f) {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got := string(f.append(nil, "h", "ann", capStandardReplies)); !strings.HasPrefix(got, ":h "+want+":") {
			t.Errorf("%q: %s", line, got)
		}
	}
	r := historyRequest{command: "LATEST", target: "#a"}
	for f, code := range map[*Failure]string{r.invalidTarget(): "INVALID_TARGET", r.messageError(): "MESSAGE_ERROR"} {
		if got := string(f.append(nil, "h", "ann", capStandardReplies)); !strings.HasPrefix(got, ":h FAIL CHATHISTORY "+code+" LATEST #a :") {
			t.Error(got)
		}
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add("BETWEEN #a msgid=1z-812 timestamp=2026-11-23T12:00:00.123Z 7")
	f.Add("TARGETS timestamp=2016-12-31T23:59:60.419Z timestamp= +1")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseHistory(strings.Fields(line))
		if err != nil {
			if e := new(Failure); !errors.As(err, &e) || e.Code == "" {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		if r.limit < 1 || r.limit > maxHistory || (r.target == "") != (r.command == "TARGETS") {
			t.Fatalf("%q: %+v", line, r)
		}
		for _, s := range []selector{r.from, r.to} {
			if s.seq > 0 && (s.any || !s.time.IsZero()) || s.any && r.command != "LATEST" {
				t.Fatalf("%q: %+v", line, r)
			}
		}
	})
}
