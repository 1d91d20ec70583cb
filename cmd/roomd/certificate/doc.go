// Package certificate keeps the server's TLS certificate: it reads the files again when
// they have changed, and warns of the end. It speaks no TLS itself: GetCertificate is for those
// that do.
//
// A Pair has one mutex, under which the files are read, at most every 30 seconds, by the
// goroutine that needs the certificate or by the one that Watch runs on. All methods may
// be called from any goroutine. Nothing is shared between pairs: a reload makes a new one,
// which Replaces the old one.
package certificate
