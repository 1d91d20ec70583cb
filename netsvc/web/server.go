package web

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// Options are the settings of the door. They are replaced as a whole, and never written to.
type Options struct {
	Version string         // of the program
	Title   string         // of the page
	Host    string         // of the rooms' ports, as clients reach it; empty: as the page
	Hosts   []string       // under which the page may be reached, in lower case, beside localhost and addresses
	Proxies []netip.Prefix // they may say for whom they speak
	TLS     bool           // clients speak TLS: plain HTTP is redirected
	Log     *slog.Logger
}

// Door is the door of the web. Any goroutine may call its methods.
type Door struct {
	options atomic.Pointer[Options]
	feed    feed

	mu     sync.Mutex         // guards tokens
	tokens map[string]*client // of RESUME
}

// New returns a door for the options of a netsvc.Service.
func New(o Options) *Door {
	d := &Door{tokens: make(map[string]*client)}
	d.options.Store(&o)
	return d
}

// SetOptions replaces the settings. They hold for requests and sessions that begin from then on.
func (d *Door) SetOptions(o Options) { d.options.Store(&o) }

func (d *Door) opts() *Options { return d.options.Load() }

// Name, Refusal, LineBytes, Formats, Begin and Serve make it a netsvc.HTTPDoor.
func (d *Door) Name() string { return "web" }

// Refusal is an answer of HTTP.
func (d *Door) Refusal(text string) string {
	return "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text + "\n"
}

// LineBytes is 0: a line is as long as one of a room.
func (d *Door) LineBytes() int { return 0 }

// Formats is empty: a page reads the log of a room as JSON, as other programs do.
func (d *Door) Formats() map[roomlog.Format]netsvc.Format { return nil }

// Serve serves HTTP.
func (d *Door) Serve(svc *netsvc.Service, l net.Listener) {
	site, err := newSite(func() access {
		o := d.opts()
		return access{o.Hosts, o.Proxies, o.TLS}
	}, svc.NameAt, http.HandlerFunc(d.serveSocket))
	if err != nil {
		panic(err) // the files are in the program
	}
	_ = newServer(site, d.opts().Log).Serve(l) // until l is closed
}

// serveSocket makes a session of the connection.
func (d *Door) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(connKey{}).(*netsvc.HTTPConn)
	client := requestOrigin(r).client
	s, err := accept(w, r, conn)
	if err != nil {
		return
	}
	if err := conn.BeginSession(s, client); err != nil {
		code := websocket.StatusPolicyViolation
		if known, ok := err.(*wire.Error); ok && known.Code == wire.CodeShuttingDown {
			code = websocket.StatusGoingAway
		}
		s.CloseWith(code, clip(err.Error()))
	}
}

// chargeRequest has the door charge a request.
func chargeRequest(r *http.Request, client netip.Addr) bool {
	conn, ok := r.Context().Value(connKey{}).(*netsvc.HTTPConn)
	return !ok || conn.ChargeRequest(r.Context(), client)
}

// reportForeign has the door report a request that the guard has refused.
func reportForeign(r *http.Request, client netip.AddrPort, text string) {
	if conn, ok := r.Context().Value(connKey{}).(*netsvc.HTTPConn); ok {
		conn.ReportForeign(client, text)
	}
}

// clip cuts a sentence to what a close frame holds (RFC 6455, section 5.5).
func clip(s string) string {
	const most = 123
	if len(s) <= most {
		return s
	}
	s = s[:most-len("…")]
	for len(s) > 0 && s[len(s)-1] >= 0x80 {
		s = s[:len(s)-1]
	}
	return s + "…"
}
