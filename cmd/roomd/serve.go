package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"roomd/admin"
	"roomd/netsvc"
	"roomd/store"
)

// serve runs the server until ctx is done, a signal or the operator says so.
// out gets what the person at the terminal wants to know, errw the log; with
// the console both are printed above its prompt.
func serve(ctx context.Context, c *Config, withConsole bool, out, errw io.Writer) (err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	signals := []os.Signal{syscall.SIGTERM}
	if !withConsole { // there Ctrl-C is the console's
		signals = append(signals, syscall.SIGINT)
	}
	ctx, cancel := signal.NotifyContext(ctx, signals...)
	defer cancel()
	var console *admin.Console
	if withConsole {
		if c.Admin.Socket == "" {
			return errors.New("the console needs admin.socket, which is empty")
		}
		if console, err = admin.NewConsole(c.Admin.Socket, admin.HistoryFile()); err != nil {
			return fmt.Errorf("open the console: %w", err)
		}
		defer func() { console.Leave() }()
		out, errw = console, console
	}
	tap := newTap(c, errw)
	log := slog.New(tap)
	if w := fitDescriptors(c, descriptorLimit()); w != "" {
		log.Warn(w)
	}
	meter := newMetrics(thisVersion())
	options := c.storeOptions()
	options.Observe = meter.observe
	st, err := store.Open(c.Server.Data, options)
	if err != nil {
		return err
	}
	first, err := st.Virgin()
	if err != nil {
		return errors.Join(err, st.Close())
	}
	svc := netsvc.New(st, c.serviceOptions(log))
	err = svc.Start()
	if err == nil && first {
		err = createFirst(svc, c.Server.Create)
	}
	shell := &admin.Server{Service: svc, Store: st, Log: tap, Stop: cancel, Config: c.settings, Version: thisVersion().Version, Data: c.Server.Data, Group: c.Admin.Group}
	var socket *admin.Listener
	if err == nil && c.Admin.Socket != "" {
		socket, err = shell.Listen(c.Admin.Socket, c.adminMode())
	}
	if err == nil && c.Metrics.Listen != "" {
		var stop func()
		if err = meter.watch(svc, st); err == nil {
			stop, err = meter.serve(c.Metrics.Listen)
		}
		if err == nil {
			defer stop()
		}
	}
	if err == nil {
		may, why := c.deletePolicy()
		log.Info("access", "may_create", c.Access.Create, "may_delete", string(may), "why", why)
		for _, w := range c.exposed() {
			log.Warn(w)
		}
		log.Info("ready", "master", c.masterAddresses())
		announce(out, c, svc)
		if console == nil {
			fmt.Fprintln(out, "ready; Ctrl-C stops, roomd admin opens the console")
		} else {
			fmt.Fprintln(out, "ready; help lists the commands, quit stops the server")
		}
		if console != nil {
			stop := context.AfterFunc(ctx, console.Close)
			console.Run() // until the operator leaves, or the server is to stop
			stop()
			cancel()
		}
		<-ctx.Done()
		// A second signal ends the process at once.
		cancel()
	}
	svc.Stop()
	if socket != nil {
		err = errors.Join(err, socket.Close())
	}
	return errors.Join(err, st.Close())
}

// createFirst makes the rooms of server.create, at the first start only: one
// that was deleted stays so.
func createFirst(svc *netsvc.Service, names []string) error {
	for _, name := range names {
		if _, _, err := svc.Create(name, netsvc.Creation{}); err != nil {
			return fmt.Errorf("create the room %s: %w", name, err)
		}
	}
	return nil
}

// announce says where everything is. A few rooms are listed, many are counted.
func announce(out io.Writer, c *Config, svc *netsvc.Service) {
	const most = 10
	fmt.Fprintf(out, "master port  %s\n", c.masterAddresses())
	rooms := svc.List()
	for i, r := range rooms {
		if i == most {
			fmt.Fprintf(out, "and %d more rooms\n", len(rooms)-most)
			break
		}
		if r.Unbound != "" {
			fmt.Fprintf(out, "room %-8s waits: %s\n", r.Name, r.Unbound)
			continue
		}
		fmt.Fprintf(out, "room %-8s port %d\n", r.Name, r.Port)
	}
}

// newTap makes the log's handler. The tap decides on the level, so that it can
// be changed.
func newTap(c *Config, w io.Writer) *admin.Tap {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration allows only its names
	}
	all := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: printable}
	if c.Log.Format == "json" {
		return admin.NewTap(slog.NewJSONHandler(w, all), level)
	}
	return admin.NewTap(slog.NewTextHandler(w, all), level)
}

// printable makes what is logged safe for the terminal that it is read on:
// slog's JSON leaves C1 and bidirectional controls as they are. Lines of a stack
// stay lines, which both formats escape.
func printable(_ []string, a slog.Attr) slog.Attr {
	text := a.Value.String()
	if _, is := a.Value.Any().(error); !is && a.Value.Kind() != slog.KindString {
		return a
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = netsvc.Printable(l)
	}
	return slog.String(a.Key, strings.Join(lines, "\n"))
}

func (c *Config) storeOptions() store.Options {
	o := store.Options{
		FlushInterval: c.History.FlushInterval, Lines: uint64(c.History.Lines), Age: c.History.Age, Trash: c.Rooms.Trash,
	}
	if c.History.Durability == "relaxed" {
		o.Durability = store.Relaxed
	}
	return o
}

func (c *Config) serviceOptions(log *slog.Logger) netsvc.Options {
	mayDelete, _ := c.deletePolicy()
	return netsvc.Options{
		Listen: c.Server.Listen, Port: c.Server.Port, Ports: [2]int{c.Rooms.Ports.First, c.Rooms.Ports.Last},
		Rooms: c.Rooms.Max, Replay: c.Rooms.Replay, QuietAbove: c.Rooms.QuietAbove,
		Members: c.Limits.Members, Connections: c.Limits.Connections, PerAddress: c.Limits.PerAddress,
		LineBytes: c.Limits.LineBytes, MaxLag: c.Limits.MaxLag, DeadPeer: c.Limits.DeadPeer, MasterIdle: c.Limits.MasterIdle,
		CreateAnyone: c.Access.Create == "anyone", Delete: mayDelete, Log: log,
	}
}
