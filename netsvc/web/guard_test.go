package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func prefixes(all ...string) (list []netip.Prefix) {
	for _, p := range all {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// Every answer, also a refusal, has the headers that keep other pages out.
func TestGuardSetsHeaders(t *testing.T) {
	s := site(t, access{})
	for at, status := range map[string]int{"/": 200, "/b.js": 200, "/none": 404} {
		a, _ := ask(t, "GET", s.URL+at)
		for name, value := range headers {
			if a.Header.Get(name) != value {
				t.Errorf("%s: %s is %q", at, name, a.Header.Get(name))
			}
		}
		if a.StatusCode != status {
			t.Errorf("%s: %d", at, a.StatusCode)
		}
	}
	if a, _ := ask(t, "GET", s.URL, "Host: evil.example"); a.StatusCode != 403 || a.Header.Get("Content-Security-Policy") == "" {
		t.Error(a.StatusCode, a.Header)
	}
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "manifest-src 'self'", "frame-ancestors 'none'", "base-uri 'self'", "form-action 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(headers["Content-Security-Policy"]+";", part+";") {
			t.Error(part)
		}
	}
}

// The text of a refusal says which key an operator sets.
func TestGuard(t *testing.T) {
	behind := access{hosts: []string{"chat.example.org"}, proxies: prefixes("127.0.0.0/8")}
	direct := access{hosts: []string{"chat.example.org"}}
	for _, c := range []struct {
		name    string
		a       access
		headers string
		status  int
		says    string
	}{
		{"localhost", access{}, "Host: localhost:8080", 200, ""},
		{"LOCALHOST", access{}, "Host: LocalHost.:8080", 200, ""},
		{"an address", access{}, "Host: 192.0.2.1:8080", 200, ""},
		{"an address of IPv6", access{}, "Host: [2001:db8::1]:8080", 200, ""},
		{"an address of IPv6 without a port", access{}, "Host: [2001:db8::1]", 200, ""},
		{"a name of the list", direct, "Host: Chat.Example.ORG", 200, ""},
		{"a foreign name", direct, "Host: evil.example", 403, "web.hosts"},
		{"a name that begins like one", direct, "Host: chat.example.org.evil.example", 403, "web.hosts"},
		{"an address as a name", direct, "Host: 127.0.0.1.nip.io", 403, "web.hosts"},
		{"a part of localhost", direct, "Host: a.localhost", 403, "web.hosts"},
		{"a number as a name", direct, "Host: 2130706433", 403, "web.hosts"},
		{"a name with control characters", direct, "Host: \u202eevil", 403, "web.hosts"},

		{"own origin", direct, "Host: chat.example.org:8080\nOrigin: http://chat.example.org:8080", 200, ""},
		{"own origin at the port of HTTP", direct, "Host: chat.example.org:80\nOrigin: http://chat.example.org", 200, ""},
		{"foreign origin", direct, "Host: chat.example.org:8080\nOrigin: http://evil.example", 403, "evil.example"},
		{"another port", direct, "Host: chat.example.org:8080\nOrigin: http://chat.example.org:3000", 403, "own page"},
		{"TLS that has ended in front", direct, "Host: chat.example.org:8080\nOrigin: https://chat.example.org:8080", 200, ""},
		{"TLS that has ended in front, another port", direct, "Host: chat.example.org:8080\nOrigin: https://chat.example.org", 403, "own page"},
		{"a file", direct, "Host: localhost\nOrigin: null", 403, "own page"},
		{"an extension", direct, "Host: localhost\nOrigin: chrome-extension://localhost", 403, "own page"},
		{"no URL", direct, "Host: localhost\nOrigin: http://%zz", 403, "own page"},
		{"two origins", direct, "Host: localhost\nOrigin: http://localhost\nOrigin: http://evil.example", 403, "own page"},
		{"a name in two parts", direct, "Host: localhost\nOrigin: http://localhost:80@evil.example", 403, "own page"},

		{"a script of another site", access{}, "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: script", 403, "link"},
		{"a fetch of a sibling", access{}, "Sec-Fetch-Site: same-site\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", 403, "link"},
		{"a frame of another site", access{}, "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", 403, "frame"},
		{"a link of another site", access{}, "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200, ""},
		{"a link of a sibling", access{}, "Sec-Fetch-Site: same-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200, ""},
		{"a script of ours", access{}, "Sec-Fetch-Site: same-origin\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: script", 200, ""},
		{"a typed address", access{}, "Sec-Fetch-Site: none\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200, ""},

		{"behind TLS", behind, "Host: chat.example.org\nX-Forwarded-Proto: https\nOrigin: https://chat.example.org", 200, ""},
		{"behind TLS, a list", behind, "Host: chat.example.org\nX-Forwarded-Proto: http, https\nOrigin: https://chat.example.org", 200, ""},
		{"behind TLS, nobody says so", behind, "Host: chat.example.org\nOrigin: https://chat.example.org", 200, ""},
		{"behind TLS, which the proxy denies", behind, "Host: chat.example.org\nX-Forwarded-Proto: http\nOrigin: https://chat.example.org", 403, "X-Forwarded-Proto"},
		{"behind TLS, a stranger denies it", direct, "Host: chat.example.org\nX-Forwarded-Proto: http\nOrigin: https://chat.example.org", 200, ""},
		{"behind another Host", behind, "Host: 127.0.0.1:8080\nX-Forwarded-Host: chat.example.org\nX-Forwarded-Proto: https\nOrigin: https://chat.example.org", 200, ""},
		{"behind another Host, a list", behind, "Host: 127.0.0.1:8080\nX-Forwarded-Host: evil.example, chat.example.org\nX-Forwarded-Proto: https\nOrigin: https://chat.example.org", 200, ""},
		{"behind another Host, nobody says so", behind, "Host: 127.0.0.1:8080\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\nOrigin: https://chat.example.org", 403, "X-Forwarded-Host"},
		{"behind another Host, a stranger says so", direct, "Host: 127.0.0.1:8080\nX-Forwarded-Host: chat.example.org\nOrigin: http://chat.example.org", 403, "own page"},
		{"a foreign Host behind a proxy", behind, "Host: chat.example.org\nX-Forwarded-Host: evil.example", 403, "web.hosts"},
		{"a foreign origin behind a proxy", behind, "Host: chat.example.org\nX-Forwarded-Proto: https\nOrigin: https://evil.example", 403, "evil.example"},
		{"plain HTTP at a proxy with TLS", behind, "Host: chat.example.org\nX-Forwarded-Proto: https\nOrigin: http://chat.example.org", 403, "X-Forwarded-Proto"},
	} {
		a, text := ask(t, "GET", site(t, c.a).URL+"/", strings.Split(c.headers, "\n")...)
		if a.StatusCode != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %q", c.name, a.StatusCode, text)
		}
		if c.status != 200 && (strings.ContainsRune(text, '\u202e') || a.Header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("%s: %q", c.name, text)
		}
	}
}

// Where all is TLS, plain HTTP is sent on to the same place by TLS, and nowhere else.
func TestGuardRedirectsToTLS(t *testing.T) {
	s := site(t, access{hosts: []string{"chat.example.org"}, tls: true})
	for at, to := range map[string]string{
		"/": "https://chat.example.org:8080/", "/r/lobby?a=b%20c": "https://chat.example.org:8080/r/lobby?a=b%20c", "/9001": "https://chat.example.org:8080/9001",
		"/r/..%2f": "https://chat.example.org:8080/r/..%2f", "//evil.example/": "https://chat.example.org:8080//evil.example/",
	} {
		if a, _ := ask(t, "GET", s.URL+at, "Host: chat.example.org:8080"); a.StatusCode != 308 || a.Header.Get("Location") != to {
			t.Errorf("%s: %d %s", at, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if a, _ := ask(t, "GET", s.URL, "Host: evil.example"); a.StatusCode != 403 {
		t.Error(a.StatusCode)
	}
	behind := site(t, access{proxies: prefixes("127.0.0.1/32"), tls: true})
	if a, text := ask(t, "GET", behind.URL, "X-Forwarded-Proto: https"); a.StatusCode != 400 || !strings.Contains(text, "TLS") {
		t.Error(a.StatusCode, text)
	}
}

// The client is the rightmost address that is no proxy's.
func TestGuardFindsClient(t *testing.T) {
	var a access
	s := httptest.NewServer(&guard{access: func() access { return a }, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := requestOrigin(r)
		fmt.Fprint(w, o.client.Addr(), " ", o.client.Port() != 0, " ", o.secure)
	})})
	t.Cleanup(s.Close)
	for _, c := range []struct{ proxies, header, want string }{
		{"", "X-Forwarded-For: 192.0.2.1", "127.0.0.1 true false"},
		{"198.51.100.0/24", "X-Forwarded-For: 192.0.2.1", "127.0.0.1 true false"},
		{"127.0.0.0/8", "X-Forwarded-For: 192.0.2.1", "192.0.2.1 false false"},
		{"127.0.0.0/8", "X-Forwarded-For: 192.0.2.1:444", "192.0.2.1 true false"},
		{"127.0.0.0/8", "X-Forwarded-For: ::ffff:192.0.2.1", "192.0.2.1 false false"},
		{"127.0.0.0/8", "X-Forwarded-For: [2001:db8::1]:444", "2001:db8::1 true false"},
		{"127.0.0.0/8", "X-Forwarded-For: 2001:db8::1", "2001:db8::1 false false"},
		{"127.0.0.0/8", "X-Forwarded-For: 203.0.113.9, 192.0.2.1", "192.0.2.1 false false"},
		{"127.0.0.0/8", "X-Forwarded-For: 203.0.113.9\nX-Forwarded-For: 192.0.2.1", "192.0.2.1 false false"},
		{"127.0.0.0/8 10.0.0.0/8", "X-Forwarded-For: 203.0.113.9, 192.0.2.1,10.1.2.3", "192.0.2.1 false false"},
		{"127.0.0.0/8 10.0.0.0/8", "X-Forwarded-For: 10.1.2.4, 10.1.2.3", "10.1.2.4 false false"},
		{"127.0.0.0/8 10.0.0.0/8", "X-Forwarded-For: 203.0.113.9, unknown, 10.1.2.3", "10.1.2.3 false false"},
		{"127.0.0.0/8", "X-Forwarded-For: ", "127.0.0.1 true false"},
		{"127.0.0.0/8", "X-Real-IP: 192.0.2.1", "127.0.0.1 true false"},
		{"127.0.0.0/8", "Forwarded: for=192.0.2.1;proto=https", "127.0.0.1 true false"},
		{"127.0.0.0/8", "X-Forwarded-Proto: HTTPS", "127.0.0.1 true true"},
		{"", "X-Forwarded-Proto: https", "127.0.0.1 true false"},
	} {
		a = access{proxies: prefixes(strings.Fields(c.proxies)...)}
		if _, got := ask(t, "GET", s.URL, strings.Split(c.header, "\n")...); got != c.want {
			t.Errorf("%q from a proxy of %q: %s, want %s", c.header, c.proxies, got, c.want)
		}
	}
}

// Whatever the headers are, what is let through has an origin of ours, a name of ours, and a client that
// is the other end of the connection or what its proxies say; and no text of the answer goes beyond a line.
func FuzzGuard(f *testing.F) {
	f.Add("localhost:8080", "http://localhost:8080", "same-origin", "192.0.2.1, 127.0.0.1", "https", "chat.example.org", true)
	f.Add("[::1]", "https://[::1]", "cross-site", "unknown,[::1]:5", "http,http", "", false)
	f.Add("a\x00b", "null", "none", ",,", " ", "%zz", true)
	a := access{hosts: []string{"chat.example.org"}, proxies: prefixes("127.0.0.1/32")}
	f.Fuzz(func(t *testing.T, host, from, site, chain, proto, forwarded string, proxied bool) {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.Host, r.RemoteAddr = host, "192.0.2.99:1"
		if proxied {
			r.RemoteAddr = "127.0.0.1:1"
		}
		for name, value := range map[string]string{"Origin": from, "Sec-Fetch-Site": site, "X-Forwarded-For": chain, "X-Forwarded-Proto": proto, "X-Forwarded-Host": forwarded} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		passed := false
		w := httptest.NewRecorder()
		(&guard{access: func() access { return a }, next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			o := requestOrigin(r)
			if !o.client.IsValid() || !proxied && o.client != netip.MustParseAddrPort("192.0.2.99:1") || o.client.Addr().Zone() != "" {
				t.Errorf("client %v", o.client)
			}
			if name := hostname(o.host); name != "chat.example.org" && name != "localhost" {
				if _, err := netip.ParseAddr(name); err != nil {
					t.Errorf("by the name %q", name)
				}
			}
			if !proxied && o.host != host {
				t.Errorf("the host is %q", o.host)
			}
			if from != "" && from != "http://"+strings.ToLower(o.host) && from != "https://"+strings.ToLower(o.host) {
				u, err := url.Parse(from)
				if err != nil || hostname(u.Host) != hostname(o.host) {
					t.Errorf("from %q to %q", from, o.host)
				}
			}
			if site == "cross-site" || site == "same-site" {
				t.Error("another site opens a WebSocket")
			}
		})}).ServeHTTP(w, r)
		if text := w.Body.String(); !passed && (strings.Count(text, "\n") != 1 || text != wire.CleanString(strings.TrimSuffix(text, "\n"))+"\n") {
			t.Errorf("%q", text)
		}
	})
}
