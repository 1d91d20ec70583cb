package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// socketPath is where the WebSocket is, relative to the page.
const socketPath = "/ws"

// Bounds of a connection before it is a WebSocket. A request of the page has no body.
const (
	headerTimeout  = 10 * time.Second // from the first byte of a request to the end of its header
	answerTimeout  = 30 * time.Second // in which the client takes an answer: the largest file over a slow line
	idleTimeout    = 15 * time.Second // between two requests
	maxHeaderBytes = 16 << 10
)

// newSite makes all that browsers reach: the page, and the WebSocket, which socket serves. access may
// change between requests; roomAt returns the room that clients reach at a port. Requests that the
// guard lets through have a requestOrigin.
func newSite(access func() access, roomAt func(port int) (name string, ok bool), socket http.Handler) (http.Handler, error) {
	p, err := ownPage(roomAt)
	if err != nil {
		return nil, err
	}
	return &guard{access: access, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == socketPath {
			socket.ServeHTTP(w, r)
			return
		}
		p.ServeHTTP(w, r)
	}), charge: chargeRequest, foreign: reportForeign}, nil
}

// newServer makes the server of HTTP for a site, with the bounds above, on connections that are
// secureConns. What net/http says of clients is logged as a detail.
func newServer(site http.Handler, to *slog.Logger) *http.Server {
	return &http.Server{
		Handler: site, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:    slog.NewLogLogger(to.Handler(), slog.LevelDebug),
	}
}
