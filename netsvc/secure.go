package netsvc

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"time"

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

// secure does the handshake with a caller at the gate, if connections are not
// plain. What fails is counted, and the error is a refusal with what the client
// is to be told: in plain text, if that is what it speaks, or waits for.
func (s *Service) secure(ctx context.Context, who *caller) error {
	if who.agreed || s.opts().Certificate == nil {
		return nil
	}
	if err := who.within(ctx, handshakeTime); err != nil {
		return err
	}
	who.securing.Store(true)
	defer who.securing.Store(false)
	t := s.engine.Secure(who.tcp, s.tls)
	err := t.HandshakeContext(ctx)
	if err == nil {
		who.conn, who.agreed = t, true
		return nil
	}
	const speaks = "* " + wire.SpeaksTLS + ": use roomd chat --tls, openssl s_client -quiet -connect HOST:PORT, or ncat --ssl\n"
	var head tls.RecordHeaderError
	switch {
	case ctx.Err() != nil, who.crowded.Load():
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

// looksLikeHTTP reports whether the first bytes of a connection are a request's.
func looksLikeHTTP(head []byte) bool {
	for _, method := range []string{"GET /", "POST ", "HEAD ", "PUT /", "OPTIO", "CONNE", "PATCH", "TRACE"} {
		if strings.HasPrefix(string(head), method) {
			return true
		}
	}
	return false
}
