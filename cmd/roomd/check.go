package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/english"
	"roomd/cmd/roomd/check"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/usage"
	"roomd/netsvc/wire"
)

func newCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check whether the server can start, and show what the configuration means",
		Long: `Check whether the server can start with the configuration, and show what the
configuration means. All mistakes are reported at once, each with its line and a
correction.

Then the command checks the machine: files and folders that are missing or that the
server may not read or write, ports that are in use, certificates that are not valid
now. A problem that does not prevent the start is a warning: an unknown group, an
address that this machine does not have. If root runs the command, the checks use the
rights of the owner of server.data. Nothing is changed. While the server runs, the
command does not try its ports.

Exit status: 0 the server can start, perhaps with warnings; 1 it cannot start or
cannot serve; 2 wrong usage.`,
		Example: `  roomd check
  roomd check --config /etc/roomd/config.toml`,
		Args: usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printCheck(file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`")
	return cmd
}

// printCheck prints a summary of a configuration, or all its mistakes and failures.
func printCheck(file string, out, errw io.Writer) error {
	cfg, err := config.Load(file, 0)
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		fmt.Fprintln(errw, mistakes)
		fmt.Fprintln(errw, english.Plural(len(mistakes), "mistake"))
		return errReported
	}
	if err != nil {
		return err
	}
	name := cfg.Path
	if name == "" {
		name = "no file, the defaults"
	}
	found, err := check.Serve(cfg, runningConfig)
	if err != nil {
		return err
	}
	warnings := found.Warnings
	if cfg.Ignored != "" {
		warnings = append(warnings, cfg.Ignored)
	}
	if len(found.Failures) > 0 {
		for _, f := range found.Failures {
			fmt.Fprintln(errw, wire.CleanString(f))
		}
		for _, w := range warnings {
			fmt.Fprintln(errw, "warning: "+wire.CleanString(w))
		}
		fmt.Fprintf(errw, "%s: %s\n", name, english.Plural(len(found.Failures), "failure"))
		return errReported
	}
	fmt.Fprintf(out, "%s: ok\n", name)
	fmt.Fprintf(out, "  master port  %s\n", masterAddresses(cfg))
	fmt.Fprintf(out, "  rooms        %d at most, on ports %v\n", cfg.RoomsAtMost(), cfg.Rooms.Ports)
	fmt.Fprintf(out, "  database     %s%s\n", cfg.Server.Data, found.Database)
	fmt.Fprintf(out, "  durability   %s\n", cfg.History.Durability)
	fmt.Fprintf(out, "  may create   %s\n", cfg.Access.Create)
	may, why := cfg.MayDelete()
	fmt.Fprintf(out, "  may delete   %s (%s)\n", may, why)
	if page := cfg.PageURLs(); len(page) > 0 {
		fmt.Fprintf(out, "  page         %s\n", strings.Join(page, " "))
	}
	if len(cfg.IRC.Listen) > 0 {
		fmt.Fprintf(out, "  IRC          %s\n", cfg.Value("irc.listen"))
	}
	if !found.CertificateUntil.IsZero() {
		fmt.Fprintf(out, "  TLS          on every port; the certificate is good until %s\n", found.CertificateUntil.Format(time.DateOnly))
	}
	warnings = append(warnings, cfg.Risks()...)
	if w := cfg.FitDescriptors(); w != "" {
		warnings = append(warnings, w)
	}
	for _, w := range warnings {
		fmt.Fprintf(out, "warning: %s\n", wire.CleanString(w))
	}
	return nil
}

// masterAddresses returns the configured addresses of the master port.
func masterAddresses(c *config.Config) string {
	var all []string
	for _, a := range c.Server.Listen {
		all = append(all, netip.AddrPortFrom(a, uint16(c.Server.Port)).String())
	}
	return strings.Join(all, " ")
}

// runningConfig returns the configuration of the running server, by key. It is empty if the
// server does not answer.
func runningConfig(socket string) map[string]string {
	got := make(chan []byte, 1)
	go func() {
		var out bytes.Buffer
		admin.Once(socket, []string{"config", "--json"}, nil, &out, io.Discard, nil)
		got <- out.Bytes()
	}()
	var settings []admin.Setting
	select {
	case b := <-got:
		if json.Unmarshal(b, &settings) != nil {
			return nil
		}
	case <-time.After(3 * time.Second): // a server that hangs is not a problem of the configuration
	}
	values := make(map[string]string)
	for _, s := range settings {
		values[s.Key] = s.Value
	}
	return values
}
