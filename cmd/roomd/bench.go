package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"roomd/cmd/roomd/bench"
	"roomd/cmd/roomd/usage"
)

// newBench is the load tool. Its work is in the package bench; here are its flags.
func newBench() *cobra.Command {
	var (
		report bench.Report
		only   string
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what a server costs, and check that it loses nothing",
		Long: `Measure what a server costs, and check at every member that no line is lost,
doubled or out of order.

Without a subcommand, each of the standard shapes is measured. A shape is a kind of
work with its numbers: rooms, members, publishers, rate. For each of them the command
starts this binary as a server, with a database in a temporary folder. With --peers
it also starts redis-server, nats-server, inspircd and ngircd, if they are installed.
With two or more processors the server runs on the first and the load on the second.
The table shows medians.

Exit status: 0 measured, 1 something was lost, doubled, out of order or failed.`,
		Example: `  roomd bench --runs 3 --peers
  roomd bench fanout --rooms 16 --members 64 --publishers 1
  roomd bench latency --rate 200 --durability relaxed
  roomd bench fanout --server 127.0.0.1:8080 --json
  roomd bench idle --protocol nats --server 127.0.0.1:4222`,
		Args: usage.Subcommands,
		RunE: reporting(&report, func(ctx context.Context, cmd *cobra.Command) error {
			cases := bench.Standard(only)
			if len(cases) == 0 {
				return usage.New(cmd, fmt.Errorf("--only %q: no shape's name has that", only))
			}
			return report.Compare(ctx, cases)
		}),
	}
	f := cmd.Flags()
	f.IntVar(&report.Runs, "runs", 1, "how often to run each shape, for the median")
	usage.DurationVar(f, &report.Pause, "pause", 0, "pause after each measurement, for other users of the machine")
	f.BoolVar(&report.Peers, "peers", false, "measure redis-server, nats-server, inspircd and ngircd, too")
	f.StringVar(&report.Dir, "dir", "", "`FOLDER` for the databases")
	f.StringVar(&report.Page, "write", "", "write the table into `FILE`, in place of the one between its marks")
	f.StringVar(&only, "only", "", "run the shapes whose name contains `TEXT`")
	f.BoolVar(&report.JSON, "json", false, "print one JSON array, all runs included; times are in nanoseconds")
	cmd.AddCommand(
		newBenchGrowth(),
		newBenchKind(bench.Fanout, "Publishers send a new line for each line that comes back"),
		newBenchKind(bench.Latency, "Lines at a fixed rate; each time counts from the planned moment of sending"),
		newBenchKind(bench.Idle, "Members that do nothing: memory and wake-ups"),
		newBenchKind(bench.Churn, "Visitors join and leave repeatedly"),
		newBenchKind(bench.Comeback, "All members reconnect at once after a restart"),
		newBenchKind(bench.History, "A room gets many times as many lines as it keeps"))
	return cmd
}

// reporting makes a command of what makes a report: of this binary, and to its output.
func reporting(report *bench.Report, do func(context.Context, *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if report.Runs < 1 {
			return usage.New(cmd, fmt.Errorf("--runs %d: at least one", report.Runs))
		}
		if report.Roomd, err = os.Executable(); err != nil {
			return err
		}
		report.Out, report.Progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return do(ctx, cmd)
	}
}

// newBenchGrowth measures how roomd's cost grows.
func newBenchGrowth() *cobra.Command {
	var (
		report bench.Report
		lines  uint64
	)
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "How the cost grows with members, rooms and history",
		Long: `How the cost of roomd grows with the members of a room (to 5,000), with the rooms
(to 10,000), and with the lines of a room's history.`,
		Example: "  roomd bench growth\n  roomd bench growth --lines 10000000 --write docs/performance.md",
		Args:    usage.Args(0, 0),
		RunE:    reporting(&report, func(ctx context.Context, _ *cobra.Command) error { return report.Grow(ctx, lines) }),
	}
	f := cmd.Flags()
	f.Uint64Var(&lines, "lines", 1_000_000, "the longest history")
	f.IntVar(&report.Runs, "runs", 1, "how often to run each shape, for the median")
	f.StringVar(&report.Dir, "dir", "", "`FOLDER` for the databases")
	f.StringVar(&report.Page, "write", "", "write the tables into `FILE`, in place of those between their marks")
	return cmd
}

// newBenchKind is one kind of work, with the flags that it has.
func newBenchKind(kind, short string) *cobra.Command {
	var (
		at     string
		server bench.Server
		own    = bench.Process{CPU: -1}
		cores  bool
		asJSON bool
		shape  = bench.Default(kind)
	)
	cmd := &cobra.Command{
		Use:   kind,
		Short: short,
		Long: short + `.

Without --server, the command starts this binary as a server (or, with --protocol,
redis-server, nats-server, inspircd or ngircd), with its data in a temporary folder.`,
		Example: "  roomd bench " + kind + "\n  roomd bench " + kind + " --json",
		Args:    usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var r bench.Result
			if at != "" {
				if server.Address, err = netip.ParseAddrPort(at); err != nil {
					return usage.New(cmd, fmt.Errorf("--server %s: write an address and a port, 127.0.0.1:8080", at))
				}
				r, err = bench.Run(ctx, server, shape)
			} else {
				own.Protocol = server.Protocol
				if own.Protocol == "roomd" || own.Protocol == "irc" {
					if own.Binary, err = os.Executable(); err != nil {
						return err
					}
				}
				if cores {
					if own.CPU, err = bench.SeparateProcessors(); err != nil {
						return err
					}
				}
				r, err = bench.StartAndRun(ctx, own, shape)
			}
			if asJSON {
				return errors.Join(err, bench.PrintJSON(cmd.OutOrStdout(), r))
			}
			if err != nil {
				return err
			}
			return bench.Print(cmd.OutOrStdout(), r.Rows())
		},
	}
	f := cmd.Flags()
	f.StringVar(&at, "server", "", "`ADDRESS:PORT` of a running server (roomd: its master port)")
	f.StringVar(&server.Protocol, "protocol", "roomd", "protocol of the server: roomd, redis, nats or irc; inspircd or ngircd to start one")
	f.IntVar(&server.PID, "pid", 0, "the server's process, if it cannot be found by its port")
	f.StringVar(&own.Dir, "dir", "", "`FOLDER` for the data of the started server")
	f.StringVar(&own.Durability, "durability", "commit", "history.durability of the started roomd: commit or relaxed")
	f.IntVar(&own.History, "history", 100000, "history.lines of the started roomd: lines that a room keeps; 0: all")
	f.BoolVar(&cores, "cores", true, "run the started server and the load on a processor each")
	f.BoolVar(&asJSON, "json", false, "print one JSON object; times are in nanoseconds")
	f.IntVar(&shape.Rooms, "rooms", shape.Rooms, "rooms")
	f.IntVar(&shape.Members, "members", shape.Members, "members of each room")
	if shape.Publishers > 0 {
		f.IntVar(&shape.Publishers, "publishers", shape.Publishers, "members of each room that send lines")
		f.IntVar(&shape.Bytes, "bytes", shape.Bytes, "length of a line, without its ending")
	}
	if shape.InFlight > 0 && shape.Publishers > 0 {
		f.IntVar(&shape.InFlight, "in-flight", shape.InFlight, "lines that each publisher sends before the first comes back")
	}
	if shape.Publishers > 0 {
		usage.DurationVar(f, &shape.Patience, "patience", shape.Patience, "the longest time until all members have the last line")
	}
	if kind == bench.Fanout || kind == bench.Latency {
		f.IntVar(&shape.Stopped, "stopped", 0, "members of each room that read nothing until all lines are sent, and then must get every line")
	}
	if kind == bench.Churn {
		f.IntVar(&shape.InFlight, "at-once", shape.InFlight, "visitors that are in a room at the same time")
		f.IntVar(&shape.Cycles, "cycles", shape.Cycles, "number of joins, each with a leave")
	}
	if kind == bench.Latency {
		f.Float64Var(&shape.Rate, "rate", shape.Rate, "lines a second in all")
	}
	if shape.WarmUp > 0 {
		usage.DurationVar(f, &shape.WarmUp, "warm-up", shape.WarmUp, "time at the beginning that is not measured")
		f.Uint64Var(&shape.Lines, "lines", 0, "lines to measure; 0: as many as fit into the duration")
	}
	if shape.Duration > 0 {
		usage.DurationVar(f, &shape.Duration, "duration", shape.Duration, "how long to measure")
	}
	if kind == bench.Idle {
		usage.DurationVar(f, &shape.Settle, "settle", shape.Settle, "the longest time until the server's memory is stable")
	}
	if kind == bench.History {
		f.IntVar(&shape.Keep, "keep", shape.Keep, "lines that the room keeps")
		f.IntVar(&shape.Turns, "turns", shape.Turns, "how many times the --keep lines are sent")
	}
	return cmd
}
