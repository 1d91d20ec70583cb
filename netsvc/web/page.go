package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"roomd/netsvc/wire"
)

//go:embed page
var pageFiles embed.FS

// index is the file that is the page. Its base is baseHere, as it has to be at the top.
const (
	index     = "index.html"
	baseHere  = `<base href="./">`
	baseAbove = `<base href="../">`
)

// types are the media types of the page's files, by the ends of their names. Those of package mime
// depend on the machine.
var types = map[string]string{
	".html":        "text/html; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".svg":         "image/svg+xml",
	".png":         "image/png",
	".webmanifest": "application/manifest+json",
}

// comments are the lines of a script that are comments: an eighth of what the page would weigh. They
// are sent as empty lines, so that a browser's debugger names the lines of the source.
var comments = regexp.MustCompile(`(?m)^[ \t]*//.*$`)

// page serves the files of the page, from memory: each plain and compressed. No answer depends on
// anything but the request and, for the redirect from a port, the rooms that there are.
//
// All scripts and styles are also below the folder set, whose name is a hash of all files: there they
// may be cached for good, and index.html names them there. So no build step is needed, and a browser asks
// for index.html alone when it comes back. One that has the index.html of another version, because the
// server was upgraded a moment ago, gets the files of this one, and does not keep them.
type page struct {
	roomAt func(port int) (name string, ok bool)
	files  map[string]*file // by name; that of index.html has its base at the top
	inRoom *file            // index.html one level below
	set    string           // the folder
}

// file is a file of the page as it is sent.
type file struct {
	kind    string
	plain   []byte
	gzip    []byte // nil: it is not shorter
	tag     string // of plain, without quotes
	gzipTag string
}

// ownPage makes the page of the files of this package.
func ownPage(roomAt func(port int) (name string, ok bool)) (*page, error) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, err
	}
	return newPage(files, roomAt)
}

// newPage makes the page of files. roomAt returns the room that clients reach at a port.
func newPage(files fs.FS, roomAt func(port int) (name string, ok bool)) (*page, error) {
	names, err := fs.Glob(files, "*")
	if err != nil {
		return nil, err
	}
	p, all, hash := &page{roomAt: roomAt, files: make(map[string]*file)}, make(map[string][]byte), sha256.New()
	for _, name := range names {
		if types[path.Ext(name)] == "" {
			return nil, fmt.Errorf("the page's file %s has no media type", name)
		}
		if all[name], err = fs.ReadFile(files, name); err != nil {
			return nil, err
		}
		if path.Ext(name) == ".js" {
			all[name] = comments.ReplaceAll(all[name], nil)
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(all[name]), all[name])
	}
	html := string(all[index])
	if strings.Count(html, baseHere) != 1 {
		return nil, fmt.Errorf("the page's %s must have %s once", index, baseHere)
	}
	p.set = setPrefix + tag(hash.Sum(nil))
	for _, name := range names {
		if isInSet(name) {
			for _, attribute := range []string{"src", "href"} {
				html = strings.ReplaceAll(html, attribute+`="`+name+`"`, attribute+`="`+p.set+"/"+name+`"`)
			}
		}
		if name != index {
			p.files[name] = newFile(name, all[name])
		}
	}
	p.files[index] = newFile(index, []byte(html))
	p.inRoom = newFile(index, []byte(strings.Replace(html, baseHere, baseAbove, 1)))
	return p, nil
}

// isInSet reports whether a file is cached for good. A manifest is not: the URLs in it are relative to
// its own.
func isInSet(name string) bool {
	return name != index && path.Ext(name) != ".webmanifest"
}

// setPrefix begins the name of a folder that is a set.
const setPrefix = "v"

// isSet reports whether a part of a path is the name of a set, of any version.
func isSet(dir string) bool {
	hash, ok := strings.CutPrefix(dir, setPrefix)
	return ok && len(hash) == len(tag(make([]byte, sha256.Size))) && strings.Trim(hash, "0123456789abcdef") == ""
}

func newFile(name string, plain []byte) *file {
	f := &file{kind: types[path.Ext(name)], plain: plain}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a valid one
	w.Write(plain)                                        // to memory: no error
	w.Close()
	if b.Len() < len(plain) {
		f.gzip = b.Bytes()
	}
	sum := sha256.Sum256(plain)
	f.tag = tag(sum[:])
	f.gzipTag = f.tag + "-gzip" // a strong tag is of the bytes that are sent (RFC 9110, 8.8.3)
	return f
}

// tag shortens a hash.
func tag(sum []byte) string { return hex.EncodeToString(sum[:10]) }

// ServeHTTP answers GET and HEAD:
//
//	/ and /r/NAME    index.html, for any name that a room may have
//	/PORT            a redirect to the room of that port
//	/FILE, /SET/FILE the file, for any set
//
// URLs in the answers are relative, because the server does not know a path that a proxy removes.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, "the page is read with GET; a program speaks to the rooms by WebSocket (ws), or to their ports")
		return
	}
	at, rooted := strings.CutPrefix(r.URL.Path, "/")
	dir, name, _ := strings.Cut(at, "/")
	switch f := p.files[at]; {
	case !rooted:
	case at == "":
		send(w, r, p.files[index], "no-cache")
		return
	case f != nil && at != index:
		send(w, r, f, "no-cache")
		return
	case dir == p.set && isInSet(name) && p.files[name] != nil:
		send(w, r, p.files[name], "public, max-age=31536000, immutable")
		return
	case isSet(dir) && isInSet(name) && p.files[name] != nil:
		send(w, r, p.files[name], "no-cache")
		return
	case dir == "r" && isName(name):
		send(w, r, p.inRoom, "no-cache")
		return
	case isPort(at):
		p.redirect(w, at)
		return
	}
	answer(w, http.StatusNotFound, "there is nothing here: the page is at the top, and a room at r/NAME")
}

// redirect answers with the URL of the room at a port. It is not kept: the port may be another room's
// later.
func (p *page) redirect(w http.ResponseWriter, text string) {
	port, _ := strconv.Atoi(text) // isPort has looked
	name, ok := p.roomAt(port)
	if !ok {
		answer(w, http.StatusNotFound, fmt.Sprintf("there is no room on port %d", port))
		return
	}
	w.Header().Set("Location", "r/"+url.PathEscape(name))
	answer(w, http.StatusFound, fmt.Sprintf("port %d is the room %s", port, name))
}

// isName reports whether a room may have a name.
func isName(name string) bool {
	_, err := wire.ParseName(name)
	return err == nil
}

// isPort reports whether a part of a path is a port, in its only spelling.
func isPort(at string) bool {
	n, err := strconv.Atoi(at)
	return err == nil && n >= 1 && n <= 65535 && strconv.Itoa(n) == at
}

// send answers with a file, or with 304 if the client has it.
func send(w http.ResponseWriter, r *http.Request, f *file, cache string) {
	h, body, tag := w.Header(), f.plain, f.tag
	if f.gzip != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			body, tag = f.gzip, f.gzipTag
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Cache-Control", cache)
	h.Set("ETag", `"`+tag+`"`)
	if hasTag(r.Header.Values("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body) // on an error the client is gone
	}
}

// hasTag reports whether a condition names a tag (RFC 9110, 13.1.2: weak tags are compared as strong
// ones are).
func hasTag(conditions []string, tag string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(conditions, ","), ","), func(c string) bool {
		c = strings.TrimSpace(c)
		return c == "*" || strings.TrimPrefix(c, "W/") == `"`+tag+`"`
	})
}

// acceptsGzip reports whether a client takes gzip (RFC 9110, 12.5.3).
func acceptsGzip(accepted []string) bool {
	for _, c := range strings.Split(strings.Join(accepted, ","), ",") {
		coding, weight, _ := strings.Cut(c, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, has := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		n, err := strconv.ParseFloat(q, 64)
		return !has || err == nil && n > 0
	}
	return false
}

// answer sends a sentence, which nobody keeps.
func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, wire.CleanString(text))
}
