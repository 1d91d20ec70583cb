package irc

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

// The conversations in the page about IRC are carried out as they stand.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/irc.md")
	if err != nil {
		t.Fatal(err)
	}
	all := netsvctest.Conversations(page)
	if len(all) == 0 {
		t.Fatal("the page has no conversation")
	}
	for i, text := range all {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			s := newServer(t, func(_ *netsvc.Options, o *Options) { o.Name = "chat" })
			script := netsvctest.Script{
				Call: func(verb, room string) (*netsvctest.Client, error) {
					switch verb {
					case "connects":
						c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(s.Service.Doors()[0].Listening[0]))
						if err != nil {
							return nil, err
						}
						t.Cleanup(func() { c.Close() })
						return netsvctest.NewClient(t, c), nil
					case "joins":
						return netsvctest.Dial(t, s.port(room)), nil
					}
					return nil, fmt.Errorf("%s is not a step", verb)
				},
				Restart: func() {
					s.Stop()
					s.irc = New(Options{Name: "chat", Network: "roomd", Resume: s.irc.opts().Resume, Replay: 1000, Version: "test"})
					s.Options.Doors = []netsvc.DoorOptions{{Door: s.irc, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}}
					s.Start()
				},
				CRLF:    true,
				Ignores: func(string) bool { return true },
			}
			script.Play(t, text)
		})
	}
}
