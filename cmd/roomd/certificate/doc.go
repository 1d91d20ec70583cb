// Package certificate keeps the server's TLS certificate: it reads the files again when
// they change, and warns of the expiry. It does no TLS itself: GetCertificate is for
// tls.Config.
//
// A Pair has one mutex. The files are read under it, at most every 30 seconds, by the
// goroutine that needs the certificate or by the one that runs Watch. All methods may be
// called from any goroutine. Pairs share nothing: a reload makes a new Pair, which Replaces
// the old one.
package certificate
