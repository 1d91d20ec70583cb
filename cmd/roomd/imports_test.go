package main

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The packages' arrows, and who may use which library. A package that is not
// listed may import nothing of ours.
var allowed = map[string]struct {
	ours   []string
	theirs []string
	why    string
}{
	"roomd/cmd/roomd":             {[]string{"roomd/admin", "roomd/admin/english", "roomd/admin/term", "roomd/admin/value", "roomd/admin/web", "roomd/cmd/roomd/bench", "roomd/cmd/roomd/chat", "roomd/cmd/roomd/check", "roomd/cmd/roomd/config", "roomd/cmd/roomd/feed", "roomd/cmd/roomd/offline", "roomd/cmd/roomd/output", "roomd/cmd/roomd/progress", "roomd/cmd/roomd/remote", "roomd/cmd/roomd/server", "roomd/cmd/roomd/tail", "roomd/cmd/roomd/usage", "roomd/netsvc/client", "roomd/netsvc/wire"}, []string{"github.com/spf13/cobra", "golang.org/x/sys"}, "the command line: it alone reads it, and what each command does is in the packages below"},
	"roomd/cmd/roomd/bench":       {nil, []string{"golang.org/x/sys"}, "the load comes over sockets, as from any client; what it shares with the server it could not check"},
	"roomd/cmd/roomd/browsertest": {nil, nil, "it runs the program and a browser, and knows both from outside"},
	"roomd/cmd/roomd/certificate": {[]string{"roomd/admin/english"}, nil, "it reads the files of a certificate, whatever it is shown to"},
	"roomd/cmd/roomd/chat":        {[]string{"roomd/admin/english", "roomd/admin/term", "roomd/cmd/roomd/remote", "roomd/netsvc/client", "roomd/netsvc/wire"}, nil, "a client like others: it knows the server by its protocol, and the terminal by admin/term, the only one that imports readline"},
	"roomd/cmd/roomd/check":       {[]string{"roomd/admin/english", "roomd/cmd/roomd/certificate", "roomd/cmd/roomd/config", "roomd/store", "roomd/store/disk"}, []string{"golang.org/x/sys"}, "it looks at all that the configuration names, as serve would"},
	"roomd/cmd/roomd/config":      {[]string{"roomd/admin/english", "roomd/admin/value", "roomd/netsvc/limit", "roomd/netsvc/wire"}, []string{"github.com/BurntSushi/toml"}, "values follow the rules of their use: names those of the protocol, networks those of limits and bans, ranges those of the console's set; it opens nothing"},
	"roomd/cmd/roomd/feed":        {[]string{"roomd/admin/english", "roomd/cmd/roomd/progress", "roomd/cmd/roomd/remote", "roomd/netsvc/client", "roomd/netsvc/wire"}, nil, "lines go into a room through a member, and what becomes of them is told in the words of the protocol"},
	"roomd/cmd/roomd/metrics":     {[]string{"roomd/netsvc", "roomd/store"}, []string{"github.com/prometheus/client_golang"}, "it shows the numbers of both, alone uses the library, and steers nothing"},
	"roomd/cmd/roomd/offline":     {[]string{"roomd/admin/english", "roomd/cmd/roomd/progress", "roomd/netsvc/wire", "roomd/store"}, nil, "it works on the database as the server does, without one"},
	"roomd/cmd/roomd/output":      {[]string{"roomd/cmd/roomd/systemd"}, nil, "lines and the log, whatever they are about; the journal has a form of its own"},
	"roomd/cmd/roomd/progress":    {[]string{"roomd/admin/english", "roomd/admin/term"}, nil, "lines on standard error, whatever they are about; it asks whether a person reads them"},
	"roomd/cmd/roomd/remote":      {[]string{"roomd/cmd/roomd/progress", "roomd/netsvc/client", "roomd/netsvc/wire"}, nil, "a server as its clients see it: flags and the configuration are the caller's"},
	"roomd/cmd/roomd/roomdtest":   {[]string{"roomd/netsvc/netsvctest"}, []string{"golang.org/x/sys"}, "tests of the program and of its packages use it, and nothing else does"},
	"roomd/cmd/roomd/server":      {[]string{"roomd/admin", "roomd/admin/english", "roomd/admin/term", "roomd/cmd/roomd/certificate", "roomd/cmd/roomd/config", "roomd/cmd/roomd/metrics", "roomd/cmd/roomd/output", "roomd/cmd/roomd/progress", "roomd/cmd/roomd/systemd", "roomd/cmd/roomd/upgrade", "roomd/netsvc", "roomd/netsvc/irc", "roomd/netsvc/web", "roomd/store", "roomd/store/disk"}, nil, "it puts all together that a server is; none of them knows it"},
	"roomd/cmd/roomd/systemd":     {nil, []string{"golang.org/x/sys"}, "how a server is, it is told"},
	"roomd/cmd/roomd/tail":        {[]string{"roomd/admin/english", "roomd/admin/term", "roomd/cmd/roomd/progress", "roomd/cmd/roomd/remote", "roomd/netsvc/client", "roomd/netsvc/wire"}, nil, "it prints a room as the protocol spells it"},
	"roomd/cmd/roomd/upgrade":     {nil, []string{"golang.org/x/sys"}, "it hands over what it is given, and knows no rooms"},
	"roomd/cmd/roomd/usage":       {[]string{"roomd/admin/english", "roomd/admin/value"}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag"}, "what is wrong with a command line, whatever the command"},
	"roomd/admin":                 {[]string{"roomd/admin/english", "roomd/admin/peer", "roomd/admin/term", "roomd/admin/value", "roomd/netsvc", "roomd/netsvc/ban", "roomd/netsvc/limit", "roomd/netsvc/wire", "roomd/store", "roomd/store/disk"}, nil, "the console steers netsvc, reads the targets of bans and networks as it does, and compares names and writes lines as the protocol does; the user of the socket is asked of admin/peer; nothing below knows it"},
	"roomd/admin/english":         {nil, nil, "texts for people: it knows nothing of what they are about"},
	"roomd/admin/peer":            {nil, []string{"golang.org/x/sys"}, "what the kernel says of the other end of a socket, whatever is said over it"},
	"roomd/admin/term":            {nil, []string{"github.com/chzyer/readline", "golang.org/x/sys", "golang.org/x/text"}, "lines at a terminal, whatever they are for; it alone uses the library"},
	"roomd/admin/value":           {nil, nil, "ranges and times are pure: the configuration and the console read values by them"},
	"roomd/admin/web":             {[]string{"roomd/admin", "roomd/admin/peer"}, nil, "the operator's page gives commands as any client of the admin socket, and asks admin/peer whose browser it is; no server has it"},
	"roomd/netsvc":                {[]string{"roomd/netsvc/ban", "roomd/netsvc/handshake", "roomd/netsvc/history", "roomd/netsvc/limit", "roomd/netsvc/passwd", "roomd/netsvc/ports", "roomd/netsvc/readers", "roomd/netsvc/roomlog", "roomd/netsvc/transport", "roomd/netsvc/trim", "roomd/netsvc/wire", "roomd/store"}, []string{"golang.org/x/sys"}, "the network knows nothing of files and consoles"},
	"roomd/netsvc/ban":            {[]string{"roomd/netsvc/limit", "roomd/netsvc/wire", "roomd/store"}, nil, "bans are compared with what is said of a client: it sees no socket, no room and no clock"},
	"roomd/netsvc/client":         {nil, nil, "other people's bots import it: it brings nothing with it, and knows the server only by its protocol"},
	"roomd/netsvc/irc":            {[]string{"roomd/netsvc", "roomd/netsvc/history", "roomd/netsvc/limit", "roomd/netsvc/roomlog", "roomd/netsvc/wire"}, nil, "IRC is one more way into the rooms; netsvc knows nothing of it"},
	"roomd/netsvc/web":            {[]string{"roomd/netsvc", "roomd/netsvc/limit", "roomd/netsvc/roomlog", "roomd/netsvc/wire"}, []string{"github.com/coder/websocket"}, "the web is one more way into the rooms; it alone speaks HTTP with clients"},
	"roomd/netsvc/netsvctest":     {[]string{"roomd/netsvc", "roomd/store"}, nil, "tests of all packages use it, and nothing else does"},
	"roomd/netsvc/handshake":      {[]string{"roomd/netsvc/transport"}, []string{"github.com/pires/go-proxyproto"}, "PROXY and TLS come before the first line, whatever the lines are; it alone uses the library"},
	"roomd/netsvc/history":        {[]string{"roomd/netsvc/wire", "roomd/store"}, nil, "lines are read in turns, whoever reads: it compares texts as the protocol does, and sees no socket and no member"},
	"roomd/netsvc/limit":          {nil, nil, "limits are pure: the time is passed in, and they can be tested and reasoned about alone"},
	"roomd/netsvc/passwd":         {[]string{"roomd/netsvc/limit"}, []string{"golang.org/x/crypto"}, "it alone hashes passwords; guessing is limited by prefix, and it sees no socket"},
	"roomd/netsvc/ports":          {nil, nil, "the order of ports is pure: it binds none"},
	"roomd/netsvc/readers":        {[]string{"roomd/store"}, nil, "what clients have is counted in bytes and acknowledgements: it knows no rooms, and of a conn only its numbers"},
	"roomd/netsvc/roomlog":        {nil, nil, "the log is pure: it can be tested and reasoned about alone"},
	"roomd/netsvc/transport":      {nil, []string{"golang.org/x/sys"}, "sockets and event loops know nothing of whose bytes they carry"},
	"roomd/netsvc/trim":           {nil, nil, "memory is the process's, whatever has used it: it counts connections and sees none"},
	"roomd/netsvc/wire":           {nil, []string{"golang.org/x/text"}, "the protocol is pure: it can be tested and reasoned about alone"},
	"roomd/store":                 {[]string{"roomd/store/block", "roomd/store/boltcheck", "roomd/store/disk", "roomd/store/lineid", "roomd/store/wal"}, []string{"go.etcd.io/bbolt", "golang.org/x/sync", "golang.org/x/sys"}, "it alone touches the disk, and never sees a socket"},
	"roomd/store/block":           {nil, nil, "the bytes of lines are pure: they can be tested and reasoned about alone"},
	"roomd/store/boltcheck":       {nil, nil, "it reads pages by itself, so that damage in them is not bbolt's to follow"},
	"roomd/store/disk":            {nil, []string{"golang.org/x/sys"}, "files, whatever is in them"},
	"roomd/store/lineid":          {nil, []string{"go.etcd.io/bbolt"}, "an index in one bucket, with its bounds: it knows no lines, rooms or files"},
	"roomd/store/wal":             {[]string{"roomd/store/block", "roomd/store/disk"}, nil, "its records hold lines, and are synced; it knows nothing of what they are for"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "roomd/...").Output()
	if err != nil {
		t.Skip("go list:", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		rule, ok := allowed[p.ImportPath]
		if !ok {
			t.Errorf("%s has no rule: say here what it may import", p.ImportPath)
		}
		for _, i := range p.Imports {
			if first, _, _ := strings.Cut(i, "/"); !strings.Contains(first, ".") && first != "roomd" {
				pure := []string{"roomd/netsvc/ban", "roomd/netsvc/history", "roomd/netsvc/limit", "roomd/netsvc/passwd", "roomd/netsvc/ports", "roomd/netsvc/roomlog", "roomd/netsvc/wire"}
				addresses := i == "net/netip" && slices.Contains([]string{"roomd/netsvc/ban", "roomd/netsvc/limit", "roomd/netsvc/passwd"}, p.ImportPath) // and no sockets
				if (slices.Contains(pure, p.ImportPath) || strings.HasPrefix(p.ImportPath, "roomd/store")) && strings.HasPrefix(i+"/", "net/") && !addresses {
					t.Errorf("%s must not import %s: %s", p.ImportPath, i, rule.why)
				}
				continue
			}
			if !under(i, rule.ours) && !under(i, rule.theirs) {
				t.Errorf("%s must not import %s: %s", p.ImportPath, i, rule.why)
			}
		}
	}
}

// under reports whether an import is one of the modules or packages given.
func under(path string, of []string) bool {
	for _, o := range of {
		if path == o || !strings.HasPrefix(o, "roomd/") && strings.HasPrefix(path, o+"/") {
			return true
		}
	}
	return false
}
