package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"roomd/netsvc/client"
)

// Environment variables that replace the flags of the same name.
const (
	// PasswordVar has the password of a room. Unlike a flag, other users cannot see it in the
	// list of processes.
	PasswordVar = "ROOMD_PASSWORD"

	ServerVar = "ROOMD_SERVER" // HOST:PORT
	NickVar   = "ROOMD_NICK"
)

// Server is the server of a client command. Set the fields, then call the methods from one
// goroutine.
type Server struct {
	Addr     string // of the master port, HOST:PORT or HOST; empty: Find knows it
	TLS      bool   // speak TLS
	CA       string // file with the certificates to trust, in PEM; empty: the system's. It implies TLS
	Password string // of the rooms that are joined; Dial and Join set it to that of PasswordVar if it is empty

	// Find returns the address, HOST:PORT, if Addr is empty, and the file with the server's own
	// certificate; empty: no TLS. It is called until it has succeeded once.
	Find func() (addr, cert string, err error)

	addr    string         // the resolved address; empty: not resolved yet
	options client.Options // for that address
}

// Dial resolves the address and checks that the server answers. The error is safe for a
// terminal.
func (s *Server) Dial(ctx context.Context) (*client.Client, error) {
	c, err := s.dial(ctx)
	return c, CleanError(err)
}

// dial is Dial with an error that is not cleaned.
func (s *Server) dial(ctx context.Context) (*client.Client, error) {
	s.Password = cmp.Or(s.Password, os.Getenv(PasswordVar))
	if s.addr == "" {
		var err error
		if s.addr, s.options, err = s.resolve(); err != nil {
			return nil, err
		}
	}
	c, err := client.Dial(ctx, s.addr, s.options)
	return c, s.explain(err)
}

// resolve returns the address of the server, and the options for it.
func (s *Server) resolve() (addr string, o client.Options, err error) {
	addr, ca, name, secure := s.Addr, s.CA, "", s.TLS || s.CA != ""
	if addr == "" {
		var cert string
		if addr, cert, err = s.Find(); err != nil {
			return "", o, err
		}
		if cert != "" {
			secure = true
			if ca == "" && readable(cert) {
				ca = cert
			}
			name = certName(ca)
		}
	}
	if !secure {
		return addr, o, nil
	}
	o.TLS = &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return "", o, err
		}
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM(text) {
			return "", o, fmt.Errorf("%s contains no certificate in PEM", ca)
		}
	}
	return addr, o, nil
}

// LocalAddr returns the address, HOST:PORT, at which this machine reaches a server that
// listens on these addresses.
func LocalAddr(listen []netip.Addr, port int) string {
	host := "::1"
	for _, a := range listen {
		if !a.IsUnspecified() {
			host = a.String()
			break
		}
		if a.Is4() {
			host = "127.0.0.1"
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// certName returns the first DNS name of a certificate, or "".
func certName(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(cert.DNSNames) == 0 {
		return ""
	}
	return cert.DNSNames[0]
}
