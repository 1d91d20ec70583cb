package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// explained is an error with advice for the person.
type explained struct {
	text  string
	cause error
}

func (a explained) Error() string { return a.text }
func (a explained) Unwrap() error { return a.cause }

// explain says why the server cannot be reached and what to do, in place of the words of the
// resolver and of TLS.
func (s *Server) explain(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var header tls.RecordHeaderError
	var untrusted x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var refusal *client.Error
	text, do := "", ""
	switch {
	case err == nil:
		return nil
	case errors.As(err, &dns):
		text = fmt.Sprintf("the host %s cannot be found: %s", dns.Name, dns.Err)
		do = "--server takes the HOST:PORT of a server's master port"
	case errors.Is(err, syscall.ECONNREFUSED):
		text = fmt.Sprintf("no server listens at %s: %v", s.addr, syscall.ECONNREFUSED)
		do = "start it, or name another one with --server HOST:PORT"
	case errors.As(err, &refusal) && refusal.Code == client.NeedsTLS:
		text = refusal.Text
		do = "add --tls, and --ca FILE with the certificate to trust if the system does not"
	case s.options.TLS == nil:
	case errors.As(err, &header), errors.As(err, &op) && op.Op == "remote error": // plain text instead of TLS, or a TLS alert
		text = fmt.Sprintf("the server at %s does not speak TLS: %v", s.addr, err)
		do = "leave --tls and --ca out if it speaks plain text"
		if !s.TLS && s.CA == "" { // Find has returned a certificate
			do = "the configuration has tls.cert; name the server with --server HOST:PORT if it speaks plain text"
		}
	case errors.As(err, &untrusted):
		text = fmt.Sprintf("the certificate of the server at %s is not trusted here: %v", s.addr, untrusted)
		do = "name the certificate to trust with --ca FILE"
	case errors.As(err, &other):
		text = fmt.Sprintf("the certificate of the server at %s is for another name: %v", s.addr, other)
		do = "name the server as its certificate does: --server NAME:PORT"
	case errors.As(err, &invalid):
		text = fmt.Sprintf("the certificate of the server at %s is not valid: %v", s.addr, invalid)
		do = "its operator has to renew it, or the clock here is wrong"
	}
	if text == "" {
		return err
	}
	return explained{text + "\n" + do, err}
}

// explainPassword adds to the refusal of a room with a password how to give one.
func explainPassword(err error) error {
	var refusal *client.Error
	if errors.As(err, &refusal) && refusal.Code == client.Denied && refusal.Text == wire.AskPassword {
		return explained{refusal.Text + "\ngive it in the variable " + PasswordVar + ", or with --password", err}
	}
	return err
}
