package netsvc_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A command that takes as long as many lines costs as much as many lines, for the member and for its
// address: members that ask for all they may leave processor time for the others.
func TestPriceOfWork(t *testing.T) {
	const (
		rate  = 100 // lines per second
		burst = 10
	)
	for name, c := range map[string]struct {
		ask  string
		end  string  // begins the last line of an answer
		cost float64 // in lines
	}{
		"who":     {"/who", "* guest-128, here since", 1 + 128.0/64},
		"history": {"/history 1024", "* end of earlier lines", 1 + 1024.0/256},
		"since":   {"/since 0", "<guest-1> 1023", 1 + 1024.0/256},
		"search":  {"/search 1023", "* end of found lines", 1 + 1024.0/4096},
		// As many bytes as a line may have, and no line end among them.
		"no line": {strings.Repeat("x", 2048), "", 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, s *server) {
				s.Options.Replay = 0
				s.Start()
				port := s.Create("lobby")
				if c.ask[0] != 'x' && name != "who" {
					p := join(t, port)
					for i := range 1024 {
						p.Send(fmt.Sprint(i))
					}
					p.Until("<guest-1> 1023")
				} else if name == "who" {
					for range 127 {
						dial(t, port).Until("* lobby:")
					}
				}
				opts := s.Options
				opts.LinesPerSecond, opts.Burst = rate, burst
				change, err := s.Service.Prepare(opts)
				if err != nil {
					t.Fatal(err)
				}
				change.Commit()
				p := dial(t, port)
				p.Until("* lobby:")
				began := time.Now()
				times := int(60/c.cost) + 1
				for range times {
					if c.end == "" {
						if _, err := io.WriteString(p.Conn, c.ask); err != nil {
							t.Fatal(err)
						}
						continue
					}
					p.Send(c.ask)
					p.Until(c.end)
				}
				p.Send("", "/ping")
				p.Until("* pong")
				least := time.Duration((float64(times)*c.cost - burst) / rate * float64(time.Second))
				if took := time.Since(began); took < least*9/10 {
					t.Errorf("%d times took %v: less than %v", times, took, least)
				}
			})
		})
	}
}
