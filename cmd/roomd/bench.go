package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"roomd/cmd/roomd/bench"
)

func newBench() *cobra.Command {
	var (
		at         string
		asJSON     bool
		server     bench.Server
		own        = bench.Own{CPU: -1}
		shape      bench.Shape
		cores      bool
		durability string
	)
	cmd := &cobra.Command{
		Use:   "bench [fanout|latency]",
		Short: "Measure what a server costs, and check that it loses nothing",
		Long: `Measure what a server costs, and check that it loses nothing.

  fanout   publishers speak as fast as their lines come back
  latency  lines at a fixed rate; their time counts from when they were due

Without --server, a roomd of this binary is started for it, with a database in
a temporary folder, the server on the first processor and the load on the
second. Every member checks that each line comes once and in order.

Exit status: 0 measured, 1 something was lost, doubled, out of order or failed.`,
		Example: `  roomd bench
  roomd bench fanout --rooms 16 --members 64
  roomd bench latency --rate 200 --durability relaxed
  roomd bench --server 127.0.0.1:8080 --json
  roomd bench --protocol nats --server 127.0.0.1:4222`,
		Args: exactly(0, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			shape.Kind = "fanout"
			if len(args) == 1 {
				shape.Kind = args[0]
			}
			if at != "" {
				if server.Address, err = netip.ParseAddrPort(at); err != nil {
					return usageError{fmt.Errorf("--server %s: write an address and a port, 127.0.0.1:8080", at), cmd}
				}
			} else {
				own.Protocol, own.Rooms, own.Durability = server.Protocol, shape.Rooms, durability
				if own.Protocol == "roomd" {
					if own.Binary, err = os.Executable(); err != nil {
						return err
					}
				}
				if cores && runtime.NumCPU() > 1 {
					own.CPU = 0
					if err := bench.Pin(1); err != nil {
						return err
					}
				}
				defer func() { err = errors.Join(err, own.Stop()) }()
				if err := own.Start(ctx); err != nil {
					return err
				}
				server = own.Server()
			}
			r, err := bench.Run(ctx, server, shape)
			if asJSON {
				in := json.NewEncoder(cmd.OutOrStdout())
				in.SetIndent("", "  ")
				return errors.Join(err, in.Encode(r))
			}
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, row := range r.Rows() {
				fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&at, "server", "", "`ADDRESS:PORT` of a running server (roomd: its master port)")
	f.StringVar(&server.Protocol, "protocol", "roomd", "what the server speaks: roomd, redis or nats")
	f.IntVar(&server.PID, "pid", 0, "the server's process, if it cannot be found by its port")
	f.StringVar(&own.Dir, "dir", "", "`FOLDER` for the database of the server that is started")
	f.StringVar(&durability, "durability", "commit", "of the server that is started: commit or relaxed")
	f.BoolVar(&cores, "cores", true, "server and load each on a processor of its own")
	f.IntVar(&shape.Rooms, "rooms", 1, "rooms")
	f.IntVar(&shape.Members, "members", 256, "members of each room")
	f.IntVar(&shape.Publishers, "publishers", 8, "how many of them speak, in each room")
	f.IntVar(&shape.InFlight, "in-flight", 64, "lines that each has in flight (fanout)")
	f.IntVar(&shape.Bytes, "bytes", 64, "length of a line, without its ending")
	f.Float64Var(&shape.Rate, "rate", 200, "lines a second in all (latency)")
	f.DurationVar(&shape.WarmUp, "warm-up", time.Second, "work that is not measured, at first")
	f.DurationVar(&shape.Duration, "duration", 5*time.Second, "how long to measure")
	f.Uint64Var(&shape.Lines, "lines", 0, "lines to measure; 0: as many as fit into the duration")
	f.BoolVar(&asJSON, "json", false, "print one JSON object; times are in nanoseconds")
	return cmd
}
