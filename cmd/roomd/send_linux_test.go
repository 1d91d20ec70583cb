package main

import (
	"fmt"
	"strings"
	"testing"

	"roomd/netsvc/client"
)

// A feed goes on through a disk that is full, or takes nothing, for a while: every
// line is there, in order.
func TestFeedOnAnIllDisk(t *testing.T) {
	for _, inject := range []string{"pwrite64:error=ENOSPC", "pwrite64,fsync,fdatasync,ftruncate:error=EROFS"} {
		t.Run(inject[strings.LastIndexByte(inject, '=')+1:], func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, fast)
			p.start()
			ear := p.join("lobby", client.JoinOptions{})
			feed := p.begin("send", "lobby")
			fmt.Fprintln(feed.in, "one")
			for ev := nextEvent(t, ear); !ev.Stored(); ev = nextEvent(t, ear) {
			}
			end := p.fault(inject)
			fmt.Fprint(feed.in, "two\nthree\nfour\n")
			eventually(t, "it tries again", func() bool { return strings.Contains(feed.errs.String(), "trying again") })
			end()
			if status := feed.end(); status != exitOK {
				t.Error(status, feed.errs.String())
			}
			sameLines(t, p.texts("lobby"), []string{"one", "two", "three", "four"})
		})
	}
}
