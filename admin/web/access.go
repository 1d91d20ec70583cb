package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"

	"roomd/admin/peer"
)

// access decides which requests are the operator's.
type access struct {
	// Set by newAccess, then read-only.
	hosts  []string // that Host may name, the one of the link first
	users  []int    // whose processes may connect
	path   string   // of the page; only a browser that has used the link knows it
	name   string   // of the cookie
	cookie string

	mu   sync.Mutex
	link string // the token; empty: it was used
}

func newAccess(port int) *access {
	a := &access{
		hosts: []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("localhost:%d", port)},
		users: []int{os.Getuid()},
		path:  "/" + rand.Text() + "/", name: fmt.Sprintf("roomd-admin-%d", port), cookie: rand.Text() + rand.Text(),
		link: rand.Text() + rand.Text(),
	}
	// The browser of an operator that uses sudo is not root's.
	if caller, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Getuid() == 0 {
		a.users = append(a.users, caller)
	}
	return a
}

// url returns the link.
func (a *access) url() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "http://" + a.hosts[0] + "/#" + a.link
}

// ownerKey is the key of the owner of a connection in its context.
type ownerKey struct{}

// withOwner keeps the owner of a connection; -1: nobody. On systems that do not say it the cookie
// alone decides.
func (a *access) withOwner(ctx context.Context, c net.Conn) context.Context {
	uid, err := peer.Owner(c)
	switch {
	case errors.Is(err, peer.ErrUnknown):
		return ctx
	case err != nil:
		uid = -1
	}
	return context.WithValue(ctx, ownerKey{}, uid)
}

// policy is the content security policy: everything comes from this page, and text never becomes
// markup or a script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guard refuses the requests that the operator's page does not make.
func (a *access) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if reason := a.refuses(r); reason != "" {
			h.Set("Connection", "close")
			http.Error(w, "refused: "+reason, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuses returns why a request is refused; empty: it is not.
func (a *access) refuses(r *http.Request) string {
	uid, known := r.Context().Value(ownerKey{}).(int)
	site := r.Header.Get("Sec-Fetch-Site") // https://www.w3.org/TR/fetch-metadata/
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case known && !slices.Contains(a.users, uid):
		return fmt.Sprintf("this is the page of another user of this machine, and not of user %d", uid)
	case !slices.Contains(a.hosts, r.Host):
		return "the page is not reached under this name; open the link as it was printed"
	case !reads && r.Header.Get("Origin") != "http://"+r.Host:
		return "the request comes from another page"
	case site != "" && site != "same-origin" && site != "none" && !(reads && r.URL.Path == "/"):
		return "the request comes from another site"
	}
	return ""
}

// open exchanges the token of the link for the cookie, once.
func (a *access) open(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Token string `json:"token"`
	}
	if !readJSON(w, r, &req) {
		return
	}
	a.mu.Lock()
	right := a.link != "" && subtle.ConstantTimeCompare([]byte(req.Token), []byte(a.link)) == 1
	if right {
		a.link = ""
	}
	a.mu.Unlock()
	if !right {
		sendJSON(w, http.StatusForbidden, map[string]string{"error": "the link was used already, or is not this page's"})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: a.name, Value: a.cookie, Path: a.path, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	sendJSON(w, http.StatusOK, map[string]string{"path": a.path})
}

// withCookie refuses requests without the cookie.
func (a *access) withCookie(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie(a.name)
		if err != nil || subtle.ConstantTimeCompare([]byte(c.Value), []byte(a.cookie)) != 1 {
			sendEntrance(w, r, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// maxRequest bounds the body of a request in bytes.
const maxRequest = 64 << 10

// readJSON reads the body of a request, and answers one that is not JSON. Only a page of this
// origin can send JSON without asking first (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "the body must be application/json", http.StatusUnsupportedMediaType)
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, "the body cannot be read: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
