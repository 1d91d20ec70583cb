package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"roomd/netsvc/limit"
)

// access says how the page may be reached.
type access struct {
	hosts   []string       // names in lower case, beside localhost and addresses
	proxies []netip.Prefix // they may say for whom they speak
	tls     bool           // everything is served by TLS: plain HTTP is redirected
}

// guard lets requests through to next that a person, a program, or the page itself has made, and
// refuses those that a page of another site has caused in a browser. A browser tells by Host,
// Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch Metadata) where a request comes from; a page cannot
// change them. Programs send no Origin, and are no danger: they have no visitor to act for.
type guard struct {
	access func() access
	next   http.Handler

	// charge, if not nil, waits until a client may make a request, or reports false.
	charge func(r *http.Request, client netip.Addr) bool
	// foreign, if not nil, is told of requests that are refused because of where they come from.
	foreign func(r *http.Request, client netip.AddrPort, text string)
}

// headers are in every answer. The policy allows the page its own files and its WebSocket, and no
// text that becomes a script (W3C CSP 3, Trusted Types); no other page may frame, open or read it.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; " +
		"base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()",
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	a := g.access()
	o, err := originOf(r, &a)
	if g.charge != nil && o.client.IsValid() && !g.charge(r, o.client.Addr()) {
		w.Header().Set("Retry-After", "10")
		answer(w, http.StatusTooManyRequests, "your address asks for too much; try again later")
		return
	}
	if err != nil {
		if err.status == http.StatusForbidden && g.foreign != nil {
			g.foreign(r, o.client, err.text)
		}
		answer(w, err.status, err.text)
		return
	}
	if a.tls && !isSecure(r) {
		if limit.Contains(a.proxies, remoteOf(r).Addr()) { // a redirect would come here again
			answer(w, http.StatusBadRequest, "this port speaks TLS; the proxy has to connect with https")
			return
		}
		w.Header().Set("Location", (&url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}).String())
		answer(w, http.StatusPermanentRedirect, "this port speaks TLS; the page is at https://"+r.Host+"/")
		return
	}
	g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), originKey{}, o)))
}

// origin is where a request comes from and what it was sent to, as the client sees it: a proxy of the
// list is looked through.
type origin struct {
	client netip.AddrPort // port 0: the proxy has not said
	host   string         // with the port, if that is not the scheme's own
	secure bool           // by TLS
	said   bool           // the proxy has said whether by TLS
}

type originKey struct{}

// requestOrigin returns the origin of a request that a guard has let through.
func requestOrigin(r *http.Request) origin {
	o, _ := r.Context().Value(originKey{}).(origin)
	return o
}

// remoteOf returns the other end of the connection. net/http has its address from the connection.
func remoteOf(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// secureConn is a connection that TLS may be beneath.
type secureConn interface{ IsTLS() bool }

type connKey struct{} // of the secureConn in the context of a request

// isSecure reports whether a request came here by TLS.
func isSecure(r *http.Request) bool {
	c, ok := r.Context().Value(connKey{}).(secureConn)
	return ok && c.IsTLS()
}

// refusal is an answer of the guard. The text says what to do.
type refusal struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// originOf checks a request, and returns its origin.
func originOf(r *http.Request, a *access) (o origin, _ *refusal) {
	if r.ProtoMajor != 1 { // the preface of HTTP/2, which comes without TLS's agreement on it
		return o, refuse(http.StatusHTTPVersionNotSupported, "this port speaks HTTP/1.1")
	}
	remote := remoteOf(r)
	o = origin{client: clientOf(remote, r.Header, a.proxies), host: r.Host, secure: isSecure(r)}
	if limit.Contains(a.proxies, remote.Addr()) {
		if host := last(r.Header, "X-Forwarded-Host"); host != "" {
			o.host = host
		}
		if scheme := last(r.Header, "X-Forwarded-Proto"); scheme != "" {
			o.secure, o.said = strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss"), true
		}
	}
	name := hostname(o.host)
	switch {
	case o.host == "":
		return o, refuse(http.StatusBadRequest, "the request has no Host; HTTP/1.1 has one")
	case !a.isOurs(name):
		return o, refuse(http.StatusForbidden, "the page is not reached by the name %s here; the operator can add it to web.hosts", name)
	}
	if err := checkOrigin(r, &o); err != nil {
		return o, err
	}
	// A link on another page may lead here, as long as this page is then the one on top.
	site, navigates := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if (site == "cross-site" || site == "same-site") && !navigates {
		return o, refuse(http.StatusForbidden, "another site may link to the page, and not use it or show it in a frame")
	}
	return o, nil
}

// checkOrigin compares the Origin, if there is one, with the host that the request was sent to. A page of
// https whose request comes here in plain text has come through a proxy that ends TLS: a browser lets no
// such page open a plain WebSocket. The other way round the network could have changed the page.
func checkOrigin(r *http.Request, o *origin) *refusal {
	all := r.Header.Values("Origin")
	if len(all) == 0 {
		return nil
	}
	u, err := url.Parse(all[0])
	if err != nil || len(all) > 1 || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return refuse(http.StatusForbidden, foreignPage, all[0])
	}
	https := u.Scheme == "https"
	switch {
	case withPort(u.Host, https) == withPort(o.host, https) && (https == o.secure || https && !o.said):
		o.secure = https
		return nil
	case withPort(u.Host, https) == withPort(o.host, https):
		return refuse(http.StatusForbidden, "the page is at %s, and the request came by %s: if a proxy in front says so, have it set X-Forwarded-Proto as it is", all[0], scheme(o.secure))
	case r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("Via") != "":
		return refuse(http.StatusForbidden, "the page is at %s, and the proxy says %s: have it pass Host on, or name it in web.proxies and have it set X-Forwarded-Host", all[0], o.host)
	}
	return refuse(http.StatusForbidden, foreignPage, all[0])
}

const foreignPage = "a page of %s cannot use this server; open the server's own page"

func scheme(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

// isOurs reports whether the page may be reached by a name. A page of another site can give its own
// name the address of this server, and is then at the same origin (DNS rebinding); an address it
// cannot have.
func (a *access) isOurs(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || name == "localhost" || slices.Contains(a.hosts, name)
}

// hostname returns a host without port and brackets, in lower case and without the dot of a full name.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// withPort returns a host with its port, also if that is the scheme's own.
func withPort(host string, secure bool) string {
	port := "80"
	if secure {
		port = "443"
	}
	if _, p, err := net.SplitHostPort(host); err == nil && p != "" {
		port = p
	}
	return net.JoinHostPort(hostname(host), port)
}

// clientOf returns the address of the client of a connection. Proxies add to X-Forwarded-For on the
// right, and a client may have begun the list with anything: the rightmost address that is no proxy's
// counts.
func clientOf(remote netip.AddrPort, h http.Header, proxies []netip.Prefix) netip.AddrPort {
	client := remote
	chain := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for len(chain) > 0 && limit.Contains(proxies, client.Addr()) {
		next, ok := parseAddr(strings.TrimSpace(chain[len(chain)-1]))
		if !ok {
			break
		}
		client, chain = next, chain[:len(chain)-1]
	}
	return client
}

// parseAddr reads an address of X-Forwarded-For, with or without a port.
func parseAddr(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(a.Unmap().WithZone(""), 0), true
	}
	a, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()), err == nil
}

// last returns the last value of a list in a header, which the nearest proxy has written.
func last(h http.Header, name string) string {
	list := strings.Split(strings.Join(h.Values(name), ","), ",")
	return strings.TrimSpace(list[len(list)-1])
}
