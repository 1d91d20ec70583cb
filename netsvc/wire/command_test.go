package wire_test

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

func TestParseCommand(t *testing.T) {
	say := func(text string) wire.Command { return wire.Command{Do: wire.Say, Name: "say", Text: text} }
	for line, want := range map[string]wire.Command{
		"hello":                            say("hello"),
		"  hello  ":                        say("  hello  "),
		" /who":                            say(" /who"),
		"//who":                            say("/who"),
		"///":                              say("//"),
		"//":                               say("/"),
		"{}":                               say("{}"),
		"/nick ann":                        {Do: wire.Nick, Name: "nick", Text: "ann", N: -1},
		"/NICK \t ann ":                    {Do: wire.Nick, Name: "nick", Text: "ann", N: -1},
		"/who":                             {Do: wire.Who, Name: "who", N: -1},
		"/who  ":                           {Do: wire.Who, Name: "who", N: -1},
		"/me waves  to   bob ":             {Do: wire.Me, Name: "me", Text: "waves  to   bob", N: -1},
		"/notice the build  is green ":     {Do: wire.SendNotice, Name: "notice", Text: "the build  is green", N: -1},
		"/topic":                           {Do: wire.SetTopic, Name: "topic", N: -1},
		"/topic ":                          {Do: wire.SetTopic, Name: "topic", N: -1},
		"/topic lunch at 1":                {Do: wire.SetTopic, Name: "topic", Text: "lunch at 1", N: -1},
		"/id a1 hello":                     {Do: wire.Say, Name: "id", ID: "a1", Text: "hello", N: -1},
		"/ID   a.1_:-  hello ":             {Do: wire.Say, Name: "id", ID: "a.1_:-", Text: " hello ", N: -1},
		"/id a1 //who":                     {Do: wire.Say, Name: "id", ID: "a1", Text: "/who", N: -1},
		"/id a1 /me  waves ":               {Do: wire.Me, Name: "id", ID: "a1", Text: "waves", N: -1},
		"/id a1 /notice green":             {Do: wire.SendNotice, Name: "id", ID: "a1", Text: "green", N: -1},
		"/id a1 /topic lunch":              {Do: wire.SetTopic, Name: "id", ID: "a1", Text: "lunch", N: -1},
		"/msg bob psst  you":               {Do: wire.Msg, Name: "msg", To: "bob", Text: "psst  you", N: -1},
		"/msg  bob\u3000/who":              {Do: wire.Msg, Name: "msg", To: "bob", Text: "/who", N: -1},
		"/history":                         {Do: wire.History, Name: "history", N: -1},
		"/before 812":                      {Do: wire.Before, Name: "before", N: -1, Seq: 812},
		"/before 812 50":                   {Do: wire.Before, Name: "before", N: 50, Seq: 812},
		"/before 18446744073709551615   1": {Do: wire.Before, Name: "before", N: 1, Seq: math.MaxUint64},
		"/history 50":                      {Do: wire.History, Name: "history", N: 50},
		"/history 2147483647":              {Do: wire.History, Name: "history", N: math.MaxInt32},
		"/history 2147483648":              {Do: wire.History, Name: "history", N: math.MaxInt32},
		"/history 99999999999999999999999": {Do: wire.History, Name: "history", N: math.MaxInt32},
		"/since 0":                         {Do: wire.Since, Name: "since", N: -1},
		"/since 812":                       {Do: wire.Since, Name: "since", Seq: 812, N: -1},
		"/since 18446744073709551615":      {Do: wire.Since, Name: "since", Seq: math.MaxUint64, N: -1},
		"/search lunch  at ":               {Do: wire.Search, Name: "search", Text: "lunch  at", N: -1},
		"/json":                            {Do: wire.JSON, Name: "json", N: -1},
		"/ping":                            {Do: wire.Ping, Name: "ping", N: -1},
		"/echo on":                         {Do: wire.Echo, Name: "echo", On: true, N: -1},
		"/echo OFF":                        {Do: wire.Echo, Name: "echo", N: -1},
		"/raw":                             {Do: wire.Raw, Name: "raw", N: -1},
		"/pass secret":                     {Do: wire.Pass, Name: "pass", Text: "secret", N: -1},
		"/help":                            {Do: wire.Help, Name: "help", N: -1},
		"/Quit":                            {Do: wire.Quit, Name: "quit", N: -1},
	} {
		if got, err := wire.ParseCommand(line); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
		}
	}
}

func TestBadCommands(t *testing.T) {
	long := strings.Repeat("é", 31) + "…"
	for _, c := range []struct{ line, name, want string }{
		{"/foo", "foo", "there is no /foo here; /help lists the commands; //foo sends it as text"},
		{"/Foo bar", "foo", "there is no /foo here; /help lists the commands; //foo sends it as text"},
		{"/nic\u212a ann", "nic\u212a", "there is no /nic\u212a here; /help lists the commands; //nic\u212a sends it as text"},
		{"/" + strings.Repeat("é", 99), long, "there is no /" + long + " here; /help lists the commands; //" + long + " sends it as text"},
		{"/", "", "a command's name follows the / at once; /help lists them; // sends a / as text"},
		{"/ who", "", "a command's name follows the / at once; /help lists them; // sends a / as text"},
		{"/nick", "nick", "/nick takes one name: /nick ann"},
		{"/NICK a b", "nick", "/nick takes one name: /nick ann"},
		{"/me", "me", "/me takes a text: /me waves"},
		{"/me  ", "me", "/me takes a text: /me waves"},
		{"/notice ", "notice", "/notice takes a text: /notice the build is green"},
		{"/msg", "msg", "/msg takes a nick and a text: /msg bob psst"},
		{"/msg bob ", "msg", "/msg takes a nick and a text: /msg bob psst"},
		{"/before", "before", "/before takes a sequence number, and a number of lines or nothing: /before 812 50"},
		{"/before 0", "before", "/before takes a sequence number, and a number of lines or nothing: /before 812 50"},
		{"/before 18446744073709551616", "before", "/before takes a sequence number, and a number of lines or nothing: /before 812 50"},
		{"/before 1 0", "before", "/before takes a sequence number, and a number of lines or nothing: /before 812 50"},
		{"/before 1 2 3", "before", "/before takes a sequence number, and a number of lines or nothing: /before 812 50"},
		{"/history 0", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/history -1", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/history +1", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/history ten", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/history 1 2", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/history 99999999999999999999999x", "history", "/history takes a number of lines, at least 1, or nothing: /history 50"},
		{"/since", "since", "/since takes one sequence number: /since 812"},
		{"/since #812", "since", "/since takes one sequence number: /since 812"},
		{"/since 0x10", "since", "/since takes one sequence number: /since 812"},
		{"/since 1_000", "since", "/since takes one sequence number: /since 812"},
		{"/since 18446744073709551616", "since", "/since takes a sequence number up to 18446744073709551615: /since 812"},
		{"/search", "search", "/search takes a text: /search lunch"},
		{"/echo", "echo", "/echo takes on or off: /echo off"},
		{"/echo maybe", "echo", "/echo takes on or off: /echo off"},
		{"/pass", "pass", "/pass takes one word, the password: /pass secret"},
		{"/who is there", "who", "/who takes nothing: /who"},
		{"/json x", "json", "/json takes nothing: /json"},
		{"/ping x", "ping", "/ping takes nothing: /ping"},
		{"/raw x", "raw", "/raw takes nothing: /raw"},
		{"/help me", "help", "/help takes nothing: /help"},
		{"/quit now", "quit", "/quit takes nothing: /quit"},
	} {
		got, err := wire.ParseCommand(c.line)
		checkError(t, err, wire.CodeBadRequest)
		if want := (wire.Command{Name: c.name, N: -1}); err == nil || err.Error() != c.want || got != want {
			t.Errorf("%.60q: %+v, %v; want %s", c.line, got, err, c.want)
		}
	}
}

func TestBadIDs(t *testing.T) {
	long := strings.Repeat("x", wire.MaxIDBytes)
	for line, id := range map[string]string{
		"/id": "", "/id a1": "a1", "/id a1 ": "a1", "/id a1  \t": "a1", "/id a,1 hello": "", "/id é hello": "", "/id " + long + "x hello": "",
		"/id a1 /nick bob": "a1", "/id a1 /topic": "a1", "/id a1 /id a2 hello": "a1", "/id a1 /nosuch": "a1", "/id a1 /me": "a1",
	} {
		got, err := wire.ParseCommand(line)
		checkError(t, err, wire.CodeBadRequest)
		if want := (wire.Command{Name: "id", N: -1, ID: id}); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
		if wire.HasID([]byte(line)) {
			t.Errorf("%q has an ID", line)
		}
	}
	for _, id := range []string{"a", long, "-", "A.b_c:d-9"} {
		if line := []byte("/id " + id + " hello"); !wire.HasID(line) {
			t.Errorf("%s has no ID", line)
		}
	}
	for id, unique := range map[string]bool{
		"550e8400-e29b-41d4-a716-446655440000": true, "01ARZ3NDEKTSV4RRFFQ69G5FAV": true, "2026-11-30T16:12:00.123456789Z": false, "1764519120123456789": false, long: true,
	} {
		if wire.IsUniqueID(id) != unique {
			t.Errorf("%s: unique is %v", id, !unique)
		}
	}
}

// Every command in /help exists, and every error about wrong arguments shows right ones.
func TestCommandHelp(t *testing.T) {
	lines := wire.CommandHelp()
	if len(lines) != 20 || lines[1] != "  /nick name       take another name" || lines[19] != "  //text           say /text" {
		t.Errorf("%q", lines)
	}
	checkAligned(t, lines[1:])
	for _, line := range lines[1:18] {
		word := strings.Fields(line)[0]
		_, err := wire.ParseCommand(word + " x y")
		if err == nil {
			continue // takes any text
		}
		_, example, _ := strings.Cut(err.Error(), ": ")
		if c, err := wire.ParseCommand(example); err != nil || "/"+c.Name != word {
			t.Errorf("%s: the example %q: %+v, %v", word, example, c, err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"hello", "//x", "/", "/ x", "/msg bob psst", "/history 12", "/since 99999999999999999999", "/echo oN", "/nick \u3000a",
		"/\u0130stanbul", "/" + strings.Repeat("\u0130", 40),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		line = wire.CleanString(line)
		if wire.IsBlank([]byte(line)) {
			return
		}
		c, err := wire.ParseCommand(line)
		checkError(t, err, wire.CodeBadRequest)
		if (err == nil) != (c.Do != 0) || utf8.RuneCountInString(c.Name) > 32 || wire.CleanString(c.Name) != c.Name {
			t.Errorf("%q: %+v, %v", line, c, err)
		}
		if err == nil && c.Do == wire.History && (c.N == 0 || c.N < -1 || c.N > math.MaxInt32) {
			t.Errorf("%q: %d lines", line, c.N)
		}
		// There is a way to send every text.
		said := line
		if strings.HasPrefix(line, "/") {
			said = "/" + line
		}
		if c, err := wire.ParseCommand(said); err != nil || c.Do != wire.Say || c.Text != line {
			t.Errorf("%q is said as %+v, %v", line, c, err)
		}
	})
}
