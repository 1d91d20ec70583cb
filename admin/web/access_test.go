package web_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"roomd/admin/web"
)

// The link is good for one use. Then only the cookie opens the page, and only on its path.
func TestLink(t *testing.T) {
	o := start(t, web.Options{})
	stranger := &browser{o: o}
	if res, text := stranger.get("/", nil); res.StatusCode != http.StatusOK || !strings.Contains(text, "enter.js") || strings.Contains(text, o.token) {
		t.Error(res.Status, text)
	}
	for _, wrong := range []string{`{"token":""}`, `{"token":"` + o.token[1:] + `"}`, `{"token":"` + strings.ToLower(o.token) + `"}`} {
		if res, text := stranger.post("/session", wrong, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
			t.Error(wrong, res.Status, text)
		}
	}
	res, text := stranger.post("/session", `{"token":"`+o.token+`"}`, nil)
	if res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Fatal(res.Status, text)
	}
	c := res.Cookies()[0]
	_, port, _ := strings.Cut(strings.TrimPrefix(o.at, "http://"), ":")
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" || c.MaxAge != 0 || !strings.Contains(c.Name, port) || len(c.Value) < 40 || len(c.Path) < 26 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(text, `"path":"`+c.Path+`"`) || strings.Contains(o.page.URL(), o.token) {
		t.Error(text, o.page.URL())
	}
	if res, _ := stranger.post("/session", `{"token":"`+o.token+`"}`, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
		t.Error("a second use:", res.Status)
	}
	mine := &browser{o, c.Name + "=" + c.Value, c.Path}
	for _, name := range []string{"", "app.js", "views.js", "app.css", "icon.svg"} {
		if res, text := mine.get(mine.path+name, nil); res.StatusCode != http.StatusOK || text == "" {
			t.Error(name, res.Status)
		}
		for cookie, path := range map[string]string{"": mine.path, c.Name + "=": mine.path, c.Name + "=" + c.Value[1:]: mine.path, "other=" + c.Value: mine.path, mine.cookie: "/" + strings.Repeat("A", 26) + "/"} {
			res, text := (&browser{o, cookie, path}).get(path+name, nil)
			if path == mine.path && (res.StatusCode != http.StatusForbidden || !strings.Contains(text, "enter.js")) || path != mine.path && res.StatusCode != http.StatusNotFound {
				t.Errorf("%q %s%s: %s", cookie, path, name, res.Status)
			}
		}
	}
	// Also with the cookie under another name of the machine.
	if res, _ := mine.get(mine.path, map[string]string{"Host": "localhost:" + port}); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

// Requests of other sites and under other names are refused, whatever cookie they have.
func TestForeignRequests(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	port := o.at[strings.LastIndexByte(o.at, ':')+1:]
	for name, headers := range map[string]map[string]string{
		"host":             {"Host": "example.org"},
		"host with port":   {"Host": "example.org:" + port},
		"other port":       {"Host": "127.0.0.1:1"},
		"no port":          {"Host": "127.0.0.1"},
		"origin":           {"Origin": "http://example.org"},
		"origin of a port": {"Origin": "http://127.0.0.1:1"},
		"origin null":      {"Origin": "null"},
		"no origin":        {"Origin": ""},
		"https":            {"Origin": "https://127.0.0.1:" + port},
		"cross-site":       {"Sec-Fetch-Site": "cross-site"},
		"same-site":        {"Sec-Fetch-Site": "same-site"},
	} {
		if res, text := b.post(b.path+"run", `{"line":"create stolen"}`, headers); res.StatusCode != http.StatusForbidden {
			t.Error(name, res.Status, text)
		}
		if _, origin := headers["Origin"]; !origin {
			if res, _ := b.get(b.path, headers); res.StatusCode != http.StatusForbidden {
				t.Error(name, res.Status)
			}
		}
	}
	for _, content := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		if res, _ := b.post(b.path+"run", `{"line":"create stolen"}`, map[string]string{"Content-Type": content}); res.StatusCode != http.StatusUnsupportedMediaType {
			t.Error(content, res.Status)
		}
	}
	for _, body := range []string{"", "[]", `{"line":1}`, `{"line":"rooms","x":1}`, `{"line":"` + strings.Repeat("x", 70000) + `"}`} {
		if res, _ := b.post(b.path+"run", body, nil); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40q: %s", body, res.Status)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if res, _ := b.all(method, b.path+"run", "", nil); res.StatusCode == http.StatusOK {
			t.Error(method, res.Status)
		}
	}
	if len(o.Service.List()) != 0 {
		t.Error(o.Service.List())
	}
	// A link may stand in a mail; its page is empty.
	if res, _ := b.get("/", map[string]string{"Sec-Fetch-Site": "cross-site"}); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

// Whatever is answered, the browser is told to trust nothing else.
func TestHeaders(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	for _, path := range []string{"/", b.path, b.path + "app.js", "/session"} {
		res, _ := b.get(path, nil)
		for name, part := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if !strings.Contains(res.Header.Get(name), part) {
				t.Errorf("%s: %s: %q", path, name, res.Header.Get(name))
			}
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "require-trusted-types-for 'script'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Error(csp)
		}
	}
}

// The page weighs less than 40 KB, asks nobody else for anything, and makes no markup of text.
func TestPageFiles(t *testing.T) {
	names, err := filepath.Glob("page/*")
	if err != nil || len(names) < 10 {
		t.Fatal(names, err)
	}
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|https?://|\bstyle=| on[a-z]+="`)
	var weight counter
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z := gzip.NewWriter(&weight)
		z.Write(text)
		z.Close()
		found := bad.FindString(strings.NewReplacer("http://www.w3.org/2000/svg", "").Replace(string(text)))
		if found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
	if t.Logf("%d bytes", weight); weight > 40_000 {
		t.Errorf("the page weighs %d bytes", weight)
	}
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

var _ io.Writer = (*counter)(nil)
