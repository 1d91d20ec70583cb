package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Each kind of fault is noticed, and nothing else is one.
func TestFaultsAreNoticed(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"none":       {`document.title = "done"`, ""},
		"console":    {`console.error("so", 1)`, "console: "},
		"exception":  {`setTimeout(() => { throw new Error("so") })`, "exception: "},
		"rejection":  {`Promise.reject(new Error("so"))`, "exception: "},
		"policy":     {`document.body.innerHTML = "<b>so</b>"`, "exception: "},
		"style":      {`document.body.setAttribute("style", "color: red")`, "ContentSecurityPolicyIssue"},
		"image":      {`new Image().src = "http://other.example:1/x.png"`, "ContentSecurityPolicyIssue"},
		"status":     {`fetch("none")`, "status 404"},
		"connection": {`fetch("hang")`, "failed: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; require-trusted-types-for 'script'")
				switch r.URL.Path {
				case "/":
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					fmt.Fprint(w, `<!doctype html><html lang="en"><title>x</title><link rel="icon" href="data:,"><body><script src="x.js"></script>`)
				case "/x.js":
					w.Header().Set("Content-Type", "text/javascript")
					fmt.Fprint(w, c.script)
				case "/hang":
					panic(http.ErrAbortHandler)
				default:
					http.NotFound(w, r)
				}
			}))
			defer s.Close()
			p := visit(t, s.URL+"/")
			if c.want == "" {
				p.until(`document.title === "done"`)
				return
			}
			await(t, func() string {
				p.mu.Lock()
				defer p.mu.Unlock()
				if strings.Contains(strings.Join(p.faults, "\n"), c.want) {
					return ""
				}
				return fmt.Sprintf("%s in %q", c.want, p.faults)
			})
			p.mu.Lock()
			p.faults = nil
			p.mu.Unlock()
		})
	}
}
