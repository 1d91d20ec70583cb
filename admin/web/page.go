package web

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os/user"
	"time"

	"roomd/admin"
)

// Options are the settings of a page.
type Options struct {
	Socket   string        // the admin socket of the server
	Port     int           // on 127.0.0.1; 0: a free one
	ReadOnly bool          // refuse commands that change something
	Wait     time.Duration // how long a server that has ended may take to come back; 0: 30s
}

// Page is the operator's page.
type Page struct {
	opts     Options
	commands admin.Page
	user     string
	ln       net.Listener
	access   *access
	feed     *feed
}

// Open listens. Run must follow.
func Open(o Options) (*Page, error) {
	o.Wait = cmp.Or(o.Wait, 30*time.Second)
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", o.Port))
	if err != nil {
		return nil, fmt.Errorf("open the port of the page: %w", err)
	}
	p := &Page{opts: o, commands: admin.Page{Socket: o.Socket}, ln: ln}
	if me, err := user.Current(); err == nil {
		p.user = me.Username
	}
	p.access = newAccess(ln.Addr().(*net.TCPAddr).Port)
	p.feed = newFeed(p.commands, o.Wait)
	return p, nil
}

// URL returns the link. It is good for one use.
func (p *Page) URL() string { return p.access.url() }

// closeTimeout bounds the time that requests have to end with the page.
const closeTimeout = time.Second

// Run serves the page until ctx is done. It returns an error when the server has ended and did not
// come back, or serves the operator no longer.
func (p *Page) Run(ctx context.Context) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler: p.access.guard(p.routes()), ConnContext: p.access.withOwner,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(p.ln) }()
	work, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan error, 1)
	go func() { followed <- p.feed.run(work) }()
	var err error
	select {
	case err = <-followed:
	case err = <-served:
		stop()
		<-followed
	}
	text := "roomd admin web was ended"
	if err != nil {
		text = err.Error()
	}
	p.feed.end(text)
	short, done := context.WithTimeout(context.Background(), closeTimeout)
	defer done()
	if srv.Shutdown(short) != nil {
		cancel() // a command is being carried out
		srv.Close()
	}
	p.feed.tasks.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

//go:embed page
var embedded embed.FS

// files returns the files of the page.
func files() fs.FS {
	sub, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return sub
}

// routes returns what the guard protects.
func (p *Page) routes() http.Handler {
	static := http.FileServerFS(files())
	inside := http.NewServeMux()
	inside.Handle("GET /", static)
	inside.HandleFunc("GET /live", p.live)
	inside.HandleFunc("GET /watch", p.watch)
	inside.HandleFunc("POST /run", p.run)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { sendEntrance(w, r, http.StatusOK) })
	for _, name := range []string{"enter.js", "app.css", "icon.svg"} {
		mux.Handle("GET /"+name, static)
	}
	mux.HandleFunc("POST /session", p.access.open)
	mux.Handle(p.access.path, p.access.withCookie(http.StripPrefix(p.access.path[:len(p.access.path)-1], inside)))
	return mux
}

// sendEntrance sends the page that uses the link, or says how to get one.
func sendEntrance(w http.ResponseWriter, r *http.Request, status int) {
	text, err := fs.ReadFile(files(), "enter.html")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(text)
	}
}
