package netsvc_test

import (
	"context"
	"testing"
)

// A PROXY header that becomes complete while the server is suspended for an upgrade: the client is
// told to connect again, and nothing of the connection is left in the old process.
func TestProxyHeaderDuringUpgrade(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Start()
	half := len(proxyV1) / 2
	member, master := dial(t, s.Create("lobby")), dial(t, s.Service.Port())
	for _, p := range []*peer{member, master} {
		p.Conn.Write([]byte(proxyV1[:half]))
	}
	eventually(t, "they are accepted", func() bool { return s.Service.Connections() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Service.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	defer s.Service.Thaw() // for the stop
	for _, p := range []*peer{member, master} {
		p.Conn.Write([]byte(proxyV1[half:]))
	}
	eventually(t, "the headers are read", func() bool { return len(s.Service.Conns("127.0.0.1")) == 0 })
	s.Service.Abandon(patience)
	member.Expect("* the server is being upgraded; connect again")
	member.End()
	master.Expect("ERR shutting-down the server is being upgraded; connect again")
	master.End()
	eventually(t, "all connections are given back", func() bool { return s.Service.Connections() == 0 })
	if c := s.Service.Counters().Refused; c["tls"] != 0 {
		t.Error(c)
	}
}
