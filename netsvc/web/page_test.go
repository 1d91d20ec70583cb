package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// site serves a page of a few files, with the room Straße at port 9001, behind a guard.
func site(t *testing.T, a access) *httptest.Server {
	t.Helper()
	script := strings.Repeat("import './b.js';\n", 100)
	p, err := newPage(fstest.MapFS{
		"index.html":    {Data: []byte(`<base href="./"><link rel="manifest" href="m.webmanifest"><link href="a.css"><script src="a.js"></script>`)},
		"a.js":          {Data: []byte(script)},
		"b.js":          {Data: []byte("b")},
		"a.css":         {Data: []byte("css")},
		"m.webmanifest": {Data: []byte("{}")},
		"i.svg":         {Data: []byte("<svg/>")},
		"p.png":         {Data: []byte("png")},
	}, func(port int) (string, bool) { return "Straße", port == 9001 })
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&guard{access: func() access { return a }, next: p})
	t.Cleanup(s.Close)
	return s
}

// ask makes a request with the headers given, as "Name: value", and follows no redirect.
func ask(t *testing.T, method, at string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	a, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(b)
}

// The files of the page itself are as the server expects them.
func TestPageFiles(t *testing.T) {
	p, err := ownPage(func(int) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(p.inRoom.plain, []byte(baseAbove)) || bytes.Contains(p.inRoom.plain, []byte(baseHere)) {
		t.Error("a room's page has the wrong base")
	}
}

func TestPage(t *testing.T) {
	s := site(t, access{})
	_, top := ask(t, "GET", s.URL+"/")
	set, _, _ := strings.Cut(strings.SplitAfter(top, `<script src="`)[1], "/")
	if want := fmt.Sprintf(`<base href="./"><link rel="manifest" href="m.webmanifest"><link href="%s/a.css"><script src="%[1]s/a.js"></script>`, set); top != want {
		t.Errorf("%s, want %s", top, want)
	}
	inRoom := strings.Replace(top, "./", "../", 1)
	for _, c := range []struct {
		path   string
		status int
		kind   string
		text   string // "": not compared
	}{
		{"/", 200, "text/html; charset=utf-8", top},
		{"/?a=b", 200, "text/html; charset=utf-8", top},
		{"/r/lobby", 200, "text/html; charset=utf-8", inRoom},
		{"/r/stra%C3%9Fe", 200, "text/html; charset=utf-8", inRoom},
		{"/r/9000", 200, "text/html; charset=utf-8", inRoom},
		{"/b.js", 200, "text/javascript; charset=utf-8", "b"},
		{"/a.css", 200, "text/css; charset=utf-8", "css"},
		{"/i.svg", 200, "image/svg+xml", "<svg/>"},
		{"/p.png", 200, "image/png", "png"},
		{"/m.webmanifest", 200, "application/manifest+json", "{}"},
		{"/" + set + "/b.js", 200, "text/javascript; charset=utf-8", "b"},
		{"/v0123456789abcdef0123/b.js", 200, "text/javascript; charset=utf-8", "b"}, // of another version
		{"/v0123456789abcdef0123/index.html", 404, "", ""}, {"/v0123456789abcdef0123/", 404, "", ""}, {"/v0123456789ABCDEF0123/b.js", 404, "", ""},
		{"/9001", 302, "text/plain; charset=utf-8", ""},
		{"/9002", 404, "text/plain; charset=utf-8", "there is no room on port 9002\n"},
		{"/09001", 404, "", ""}, {"/+9001", 404, "", ""}, {"/99999", 404, "", ""}, {"/0", 404, "", ""}, {"/9001/", 404, "", ""},
		{"/index.html", 404, "", ""}, {"/" + set + "/index.html", 404, "", ""}, {"/" + set + "/m.webmanifest", 404, "", ""}, {"/" + set, 404, "", ""}, {"/" + set + "/", 404, "", ""},
		{"/vdeadbeef/b.js", 404, "", ""}, {"/page/b.js", 404, "", ""}, {"/B.JS", 404, "", ""},
		{"/r", 404, "", ""}, {"/r/", 404, "", ""}, {"/r/lobby/", 404, "", ""}, {"/r/a/b", 404, "", ""}, {"/r//lobby", 404, "", ""},
		{"/r/..%2f", 404, "", ""}, {"/r/..%2fb.js", 404, "", ""}, {"/r/%2e%2e/b.js", 404, "", ""}, {"/r/../b.js", 404, "", ""}, {"/..%2f..%2fetc/passwd", 404, "", ""}, {"/r/%00", 404, "", ""},
		{"/b.js%00", 404, "", ""}, {"/r/a%0d%0ab", 404, "", ""}, {"/r/%ff", 404, "", ""}, {"/r/%3Cb%3E", 404, "", ""}, {"//", 404, "", ""}, {"//b.js", 404, "", ""}, {"/./b.js", 404, "", ""},
		{"/" + set + "/../b.js", 404, "", ""}, {"/" + set + "/%2e%2e/b.js", 404, "", ""}, {"/" + strings.Repeat("x", 3000), 404, "", ""},
	} {
		a, text := ask(t, "GET", s.URL+c.path)
		if a.StatusCode != c.status || c.kind != "" && a.Header.Get("Content-Type") != c.kind || c.text != "" && text != c.text {
			t.Errorf("%s: %d %s %q", c.path, a.StatusCode, a.Header.Get("Content-Type"), text)
		}
		if c.status == 404 && (text == "" || len(text) > 200 || a.Header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("%s: %q", c.path, text)
		}
		head, none := ask(t, "HEAD", s.URL+c.path)
		if head.StatusCode != c.status || none != "" || head.Header.Get("Content-Type") != a.Header.Get("Content-Type") || c.status == 200 && head.ContentLength != int64(len(text)) {
			t.Errorf("HEAD %s: %d %q %v", c.path, head.StatusCode, none, head.Header)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		if a, text := ask(t, method, s.URL+"/"); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" || text == "" {
			t.Errorf("%s: %d %v %q", method, a.StatusCode, a.Header, text)
		}
	}
}

// A redirect from a port stays below the path of a proxy, with any name.
func TestPageRedirects(t *testing.T) {
	s := site(t, access{})
	a, _ := ask(t, "GET", s.URL+"/9001")
	at, err := url.Parse("https://chat.example.org/chat/9001")
	if err != nil {
		t.Fatal(err)
	}
	if to, err := at.Parse(a.Header.Get("Location")); err != nil || to.String() != "https://chat.example.org/chat/r/Stra%C3%9Fe" {
		t.Error(to, err)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Error(a.Header)
	}
}

// A browser that comes back gets 304, and what is named by its hash it need not ask for.
func TestPageIsCached(t *testing.T) {
	s := site(t, access{})
	_, top := ask(t, "GET", s.URL+"/")
	set, _, _ := strings.Cut(strings.SplitAfter(top, `<script src="`)[1], "/")
	plain, text := ask(t, "GET", s.URL+"/a.js")
	zipped, packed := ask(t, "GET", s.URL+"/a.js", "Accept-Encoding: br, gzip;q=0.5")
	for _, a := range []*http.Response{plain, zipped} {
		if a.Header.Get("Cache-Control") != "no-cache" || a.Header.Get("Vary") != "Accept-Encoding" || a.ContentLength < 0 {
			t.Error(a.Header)
		}
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") || zipped.Header.Get("Content-Encoding") != "gzip" || len(packed) > len(text)/5 {
		t.Error(plain.Header, zipped.Header, len(packed))
	}
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != text {
		t.Errorf("%q %v", b, err)
	}
	for _, none := range []string{"br", "gzip;q=0", "gzip; q=0.0", "xgzip"} {
		if a, b := ask(t, "GET", s.URL+"/a.js", "Accept-Encoding: "+none); a.Header.Get("Content-Encoding") != "" || b != text {
			t.Errorf("%s: %v", none, a.Header)
		}
	}
	tag := zipped.Header.Get("ETag")
	for _, c := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if a, b := ask(t, "GET", s.URL+"/a.js", "Accept-Encoding: gzip", "If-None-Match: "+c); a.StatusCode != 304 || b != "" || a.Header.Get("ETag") != tag {
			t.Errorf("%s: %d %q %v", c, a.StatusCode, b, a.Header)
		}
	}
	if a, _ := ask(t, "GET", s.URL+"/a.js", "If-None-Match: "+tag); a.StatusCode != 200 {
		t.Error("the tag of the compressed file is that of the plain one", a.StatusCode)
	}
	if a, b := ask(t, "GET", s.URL+"/"+set+"/b.js"); !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || b != "b" {
		t.Error(a.Header, b)
	}
	if a, _ := ask(t, "GET", s.URL+"/v0123456789abcdef0123/b.js"); a.Header.Get("Cache-Control") != "no-cache" {
		t.Error(a.Header)
	}
}

// raw sends bytes, and returns the status of each answer until the server closes the connection.
func raw(t *testing.T, s *httptest.Server, request string) (status []int) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	for b := bufio.NewReader(c); ; {
		a, err := http.ReadResponse(b, nil)
		if err != nil {
			return status
		}
		io.Copy(io.Discard, a.Body)
		status = append(status, a.StatusCode)
	}
}

// Requests that no browser sends are answered, and end the connection.
func TestPageWithRawRequests(t *testing.T) {
	s := site(t, access{})
	for request, want := range map[string]int{
		"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n":            200,
		"GET / HTTP/1.0\r\n\r\n":                               400,
		"GET / HTTP/1.1\r\n\r\n":                               400,
		"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n": 400,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                     505,
		"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n":            505,

		"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":              403,
		"GET /\x00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":                400,
		"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n": 403,
		"GET b.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":                 400,
	} {
		if got := raw(t, s, request); len(got) == 0 || got[0] != want {
			t.Errorf("%q: %v, want %d", request, got, want)
		}
	}
}

// Comments of scripts are not sent, and lines keep their numbers. What is removed cannot be part of a
// string: no template of the page's scripts goes over several lines.
func TestPageWithoutComments(t *testing.T) {
	p, err := newPage(fstest.MapFS{"index.html": {Data: []byte(baseHere)}, "a.js": {Data: []byte("// why\nlet a = 'http://b'; // c\n  // d\nb\n")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.files["a.js"].plain), "\nlet a = 'http://b'; // c\n\nb\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if p, err = ownPage(nil); err != nil {
		t.Fatal(err)
	}
	all := 0
	for name, f := range p.files {
		if all += len(f.gzip); f.gzip == nil {
			all += len(f.plain)
		}
		if !strings.HasSuffix(name, ".js") {
			continue
		}
		for i, line := range strings.Split(string(f.plain), "\n") {
			if strings.Count(line, "`")%2 == 1 && !strings.Contains(line, "/`") && !strings.Contains(line, "\"`") {
				t.Errorf("%s:%d: a template goes over several lines: %s", name, i+1, line)
			}
		}
	}
	if all > 60e3 {
		t.Errorf("the page weighs %d bytes", all)
	}
	t.Logf("the page weighs %d bytes", all)
}
