package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A client that makes rooms, fills them and deletes them in a loop does not fill the
// disk: the trash and the history are bounded by what the configuration says, the
// log tells of it, and the newest that was deleted can be restored.
func TestFillAndDeleteLoop(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "rooms.trash_bytes = 1048576\nhistory.bytes = 1048576\nlimits.requests_per_second = 0")
	p.start()
	master := p.come(p.master)
	text := strings.Repeat("x", 1000)
	const rooms = 12
	for i := range rooms { // of 1.5 MB, of which 1 MiB is kept; two fill the trash
		name := fmt.Sprint("room-", i)
		master.say("CREATE " + name + "\n")
		var port int
		if _, err := fmt.Sscanf(master.hear("OK "+name), "OK "+name+" %d", &port); err != nil {
			t.Fatal(err)
		}
		lines := 400 // too little to be purged at once
		if i%2 == 0 {
			lines = 1500
		}
		p.nc(port, strings.NewReader("/raw\n"+strings.Repeat(text+"\n", lines)))
		master.say("DELETE " + name + "\n")
		master.hear("OK " + name)
	}
	newest := fmt.Sprint("room-", rooms-1)
	eventually(t, "the trash is within its bound, and has the newest", func() bool { // what is too much goes right after
		var trash []struct {
			Name  string
			Bytes int
		}
		out, errs, _ := p.admin("trash", "--json")
		if err := json.Unmarshal([]byte(out), &trash); err != nil {
			t.Fatal(out, errs, err)
		}
		total, kept := 0, false
		for _, r := range trash {
			total += r.Bytes
			kept = kept || r.Name == newest
		}
		return total <= 1<<20 && kept
	})
	p.mustAdmin("restore", newest)
	if !p.logged("trash is full") {
		t.Error("the log does not say so")
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	// The trash, a room, what is being removed, and what is free; without a bound it
	// would be 13 MB and more.
	if st, err := os.Stat(filepath.Join(p.dir, "roomd.db")); err != nil || st.Size() > 5<<20 {
		t.Errorf("the database has %d bytes, %v", st.Size(), err)
	}
}
