package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"

	"roomd/netsvc"
	"roomd/store"
)

// serve runs the server until ctx is done or a signal says so. out gets what
// the person at the terminal wants to know, errw the log.
func serve(ctx context.Context, c *Config, out, errw io.Writer) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := newLog(c, errw)
	if w := fitDescriptors(c, descriptorLimit()); w != "" {
		log.Warn(w)
	}
	st, err := store.Open(c.Server.Data, c.storeOptions())
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
	if err == nil {
		log.Info("ready", "master", c.masterAddresses(), "may_create", c.Access.Create, "may_delete", string(c.deletePolicy()))
		announce(out, c, svc)
		<-ctx.Done()
		// A second signal ends the process at once.
		cancel()
		fmt.Fprintln(out, "stopping")
	}
	svc.Stop()
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
	fmt.Fprintln(out, "ready; Ctrl-C stops")
}

func newLog(c *Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration allows only its names
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
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
	return netsvc.Options{
		Listen: c.Server.Listen, Port: c.Server.Port, Ports: [2]int{c.Rooms.Ports.First, c.Rooms.Ports.Last},
		Rooms: c.Rooms.Max, Replay: c.Rooms.Replay, QuietAbove: c.Rooms.QuietAbove,
		Members: c.Limits.Members, Connections: c.Limits.Connections, PerAddress: c.Limits.PerAddress,
		LineBytes: c.Limits.LineBytes, MaxLag: c.Limits.MaxLag, DeadPeer: c.Limits.DeadPeer, MasterIdle: c.Limits.MasterIdle,
		CreateAnyone: c.Access.Create == "anyone", Delete: c.deletePolicy(), Log: log,
	}
}
