package netsvc

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// handshakeTime is how long a TLS handshake may take, from the connection on.
const handshakeTime = 10 * time.Second

// secureConfig is for the handshakes of newcomers, one for all of them, as it
// keeps the keys of session tickets. The rest is as Go's TLS has it, which
// follows what is held safe.
func (s *Service) secureConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if get := s.opts().Certificate; get != nil {
				return get(h)
			}
			return nil, errors.New("TLS has been switched off")
		},
	}
}

// Failures of handshakes, which are counted.
const (
	tlsPlain  = "plain"  // the client spoke plain text
	tlsLate   = "late"   // it did not finish in time
	tlsFailed = "failed" // it did not agree, or broke off
)

var tlsFailures = []string{tlsPlain, tlsLate, tlsFailed}

// handshake is a connection whose TLS handshake is under way, which waits at the gate.
type handshake struct {
	tcp     transport.TCP
	conn    transport.HalfCloser // over tcp, once TLS is agreed on
	addr    netip.AddrPort
	room    *Room // nil: the master port
	since   time.Time
	crowded atomic.Bool // it has to make room for another one
	ended   atomic.Bool // it is to end for another reason
}

// handshake has a connection agree on TLS, in a goroutine. Then it calls end, once the
// connection has left the gate, with a conn, or with a refusal.
func (s *Service) handshake(c transport.TCP, addr netip.AddrPort, r *Room, end func(*handshake, *transport.Conn, error)) {
	who := &handshake{tcp: c, conn: c, addr: addr, room: r, since: time.Now()}
	s.gate.enter(who)
	s.tasks.Go(func() {
		err := s.secure(who)
		s.between.Add(1)
		defer s.between.Add(-1)
		if s.gate.leave(who); err != nil {
			end(who, nil, err)
			return
		}
		c.SetDeadline(time.Time{})
		end(who, s.engine.ConnOver(who.conn, c, addr), nil)
	})
}

// secure does the handshake. What fails is counted, and the error is a refusal with what
// the client is to be told: in plain text, if that is what it speaks, or waits for.
func (s *Service) secure(who *handshake) error {
	if s.opts().Certificate == nil {
		return nil
	}
	who.tcp.SetDeadline(time.Now().Add(handshakeTime))
	if who.crowded.Load() || who.ended.Load() { // and whoever wants that may have been too early
		return refusal("")
	}
	t := s.engine.Secure(who.tcp, s.tls)
	err := t.HandshakeContext(s.stop)
	if err == nil {
		who.conn = t
		return nil
	}
	speaks := wire.Notice(wire.SpeaksTLS + ": use roomd chat --tls, openssl s_client -quiet -connect HOST:PORT, or ncat --ssl")
	var head tls.RecordHeaderError
	switch {
	case s.stop.Err() != nil, who.crowded.Load(), who.ended.Load():
		return refusal("")
	case errors.As(err, &head) && head.Conn != nil:
		s.counters.tlsFailed(tlsPlain)
		if looksLikeHTTP(head.RecordHeader[:]) {
			s.counters.foreign(wire.HTTP)
			return refusal(foreignAnswer(wire.HTTP))
		}
		return refusal(speaks)
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.counters.tlsFailed(tlsLate)
		return refusal(speaks)
	}
	s.counters.tlsFailed(tlsFailed)
	return refusal("")
}

func (w *handshake) at() (*Room, netip.AddrPort) { return w.room, w.addr }
func (w *handshake) came() time.Time             { return w.since }
func (w *handshake) HungUp() bool                { return transport.HungUp(w.tcp) }
func (w *handshake) cut() bool                   { return w.tcp.Close() == nil }

// Signal does nothing: a handshake waits for the client alone.
func (w *handshake) Signal() {}

func (w *handshake) hurry() {
	w.ended.Store(true)
	w.cut()
}

func (w *handshake) crowd() {
	w.crowded.Store(true)
	w.tcp.SetReadDeadline(time.Unix(1, 0))
}

// looksLikeHTTP reports whether the first bytes of a connection are a request's.
func looksLikeHTTP(head []byte) bool {
	for _, method := range []string{"GET /", "POST ", "HEAD ", "PUT /", "OPTIO", "CONNE", "PATCH", "TRACE"} {
		if strings.HasPrefix(string(head), method) {
			return true
		}
	}
	return false
}
