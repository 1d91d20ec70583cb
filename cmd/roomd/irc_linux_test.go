package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// said are the messages that a member of a room's port has read so far, as those of
// an IRC client, up to one.
func (v visitor) said(t testing.TB, upTo string) (all []string) {
	t.Helper()
	for {
		l, err := v.in.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %q, %v; so far %q", upTo, l, err, all)
		}
		l = strings.TrimRight(l, "\n")
		if who, what, ok := strings.Cut(l, "> * "); ok && l[0] == '<' {
			l = "* " + who[1:] + " " + what
		} else if l[0] != '<' {
			continue
		}
		if all = append(all, l); l == upTo {
			return all
		}
	}
}

// has waits until a client has a message in a channel as the last one, and returns all.
func has(t testing.TB, c ircClient, channel, last string) (all []string) {
	t.Helper()
	await(t, func() string {
		if all = c.lines(channel); len(all) > 0 && all[len(all)-1] == last {
			return ""
		}
		return fmt.Sprintf("%T does not end with %q in %s: %q\n%s", c, last, channel, all, c.seen(channel))
	})
	return all
}

// irssi, WeeChat, ii and a member with nc see the same lines in the same order, and
// everything else that happens in a room and to them.
func TestIRCClients(t *testing.T) {
	addr := fmt.Sprintf("127.0.0.1:%d", nextPort.Take(1)-1)
	p := newProcess(t, fmt.Sprintf("irc.listen = [%q]", addr))
	p.start()
	ann := p.visit(p.first)
	fmt.Fprint(ann, "/nick ann\n")
	ann.until(t, "guest-1 is now ann")

	wires := []*ircWire{recordIRC(t, addr), recordIRC(t, addr), recordIRC(t, addr)}
	t.Cleanup(func() {
		for _, w := range wires {
			if t.Failed() {
				t.Logf("said by IRC:\n%s", strings.Join(w.lines(), "\n"))
			}
		}
	})
	iris, wren, ivy := newIrssi(t, wires[0].addr(), "iris", ""), newWeechat(t, wires[1].addr(), "wren"), newII(t, wires[2].addr(), "ivy")
	clients := []ircClient{iris, wren, ivy}
	sees(t, iris, "", "Welcome")
	sees(t, wren, "", "Welcome")
	sees(t, ivy, "", "Welcome")
	iris.types("", "/join #lobby")
	ann.until(t, "iris joined")
	sees(t, iris, "#lobby", "iris", "has joined")
	wren.types("", "/join #lobby")
	ann.until(t, "wren joined")
	sees(t, wren, "#lobby", "wren", "has joined")
	ivy.types("", "/j #lobby")
	ann.until(t, "ivy joined")
	for _, c := range clients {
		sees(t, c, "#lobby", "ivy", "has joined")
	}

	// They show their own lines when they send them, so they take turns.
	var want []string
	says := func(who func(string), text, shown string) {
		t.Helper()
		who(text)
		want = append(want, shown)
		for _, c := range clients {
			has(t, c, "#lobby", shown)
		}
	}
	nc := func(text string) { fmt.Fprintln(ann, text) }
	in := func(c ircClient) func(string) { return func(text string) { c.types("#lobby", text) } }
	for i := range 3 {
		says(nc, fmt.Sprint("from nc ", i), fmt.Sprint("<ann> from nc ", i))
		says(in(iris), fmt.Sprint("from irssi ", i), fmt.Sprint("<iris> from irssi ", i))
		says(in(wren), fmt.Sprint("from weechat ", i), fmt.Sprint("<wren> from weechat ", i))
		says(in(ivy), fmt.Sprint("from ii ", i), fmt.Sprint("<ivy> from ii ", i))
	}
	says(nc, "/me nods", "* ann nods")
	says(in(iris), "/me waves", "* iris waves")
	says(in(wren), "/me smiles", "* wren smiles")
	says(in(ivy), "\x01ACTION grins\x01", "* ivy grins")
	for i := range 200 {
		fmt.Fprintf(ann, "line %d of many, grüße\n", i)
		want = append(want, fmt.Sprintf("<ann> line %d of many, grüße", i))
	}
	last := want[len(want)-1]
	if got := ann.said(t, last); !slices.Equal(got, want) {
		t.Errorf("nc: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, c := range clients {
		if got := has(t, c, "#lobby", last); !slices.Equal(got, want) {
			t.Errorf("%T: got\n%s\nwant\n%s", c, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}

	// A topic, set by each kind of client.
	wren.types("#lobby", "/topic tea at five")
	ann.until(t, "tea at five")
	sees(t, iris, "#lobby", "changed the topic of #lobby to: tea at five")
	sees(t, ivy, "#lobby", `changed topic to "tea at five"`)
	nc("/topic tea at six")
	ann.until(t, "tea at six")
	sees(t, iris, "#lobby", "changed the topic of #lobby to: tea at six")
	sees(t, wren, "#lobby", `to "tea at six"`)

	// Between two people.
	iris.types("#lobby", "/msg ann psst")
	ann.until(t, "<iris -> ann> psst")
	nc("/msg iris hush")
	sees(t, iris, "ann", "hush")
	wren.types("#lobby", "/msg ivy hello ivy")
	await(t, func() string {
		if got := ivy.seen("wren"); !strings.Contains(got, "hello ivy") {
			return "ii has " + got
		}
		return ""
	})

	// Names.
	wren.types("#lobby", "/nick robin")
	ann.until(t, "wren is now robin")
	sees(t, iris, "#lobby", "wren", "is now known as", "robin")
	nc("/nick anna")
	sees(t, wren, "#lobby", "ann", "is now known as", "anna")
	nc("/nick ann")
	sees(t, wren, "#lobby", "anna", "is now known as", "ann")

	// ii leaves, misses a line and is back.
	ivy.types("#lobby", "/l bye for now")
	ann.until(t, "ivy left")
	sees(t, iris, "#lobby", "ivy", "has left")
	nc("while ivy is away")
	has(t, iris, "#lobby", "<ann> while ivy is away")
	ivy.types("", "/j #lobby")
	ann.until(t, "ivy joined")
	all := sees(t, ivy, "#lobby", "of many", "has joined", "while ivy is away")
	replayed := regexp.MustCompile(`(?m)<.*$`).FindAllString(all[strings.LastIndex(all, "has joined"):], -1)
	if last := replayed[len(replayed)-1]; !regexp.MustCompile(`^<ann> \[\d\d:\d\d\] while ivy is away$`).MatchString(last) {
		t.Errorf("the last line that ii has missed comes as %q", last)
	}

	// The operator.
	p.mustAdmin("say", "lobby", "the kettle boils")
	sees(t, iris, "#lobby", "the kettle boils")
	sees(t, wren, "#lobby", "the kettle boils")
	p.mustAdmin("kick", "ivy")
	sees(t, iris, "#lobby", "ivy", "was kicked")
	sees(t, wren, "#lobby", "has kicked ivy")

	// A room with a password.
	if got := p.nc(p.master, strings.NewReader("CREATE den secret\n")); !strings.HasPrefix(got, "OK den") {
		t.Fatal(got)
	}
	wren.types("", "/join #den")
	sees(t, wren, "", "den")
	iris.types("", "/join #den secret")
	sees(t, iris, "#den", "iris", "has joined #den")
	wren.types("", "/join #den secret")
	sees(t, iris, "#den", "robin", "has joined #den")

	// The operator gives it another name.
	p.mustAdmin("rename", "den", "cave")
	sees(t, iris, "#cave", "iris", "has joined #cave")
	sees(t, wren, "#cave", "robin", "has joined")
	wren.types("#cave", "drier here")
	sees(t, iris, "#cave", "drier here")

	for _, c := range clients {
		t.Logf("%T, #lobby:\n%s", c, c.seen("#lobby"))
	}
	p.mustAdmin("delete", "lobby", "--yes")
	await(t, func() string {
		if got := iris.log("#lobby"); !strings.Contains(got, "iris was kicked from #lobby by") || !strings.Contains(got, "being deleted") {
			return "irssi has " + got
		}
		return ""
	})
	sees(t, wren, "#lobby", "being deleted")
	iris.quits("so long")
	sees(t, wren, "#cave", "iris", "has quit")
}
