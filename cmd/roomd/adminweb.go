package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/web"
	"roomd/cmd/roomd/usage"
)

func newAdminWeb() *cobra.Command {
	var socket, file string
	var options web.Options
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the operator's page to your browser, on this machine",
		Long: `Serve the operator's page to your browser, on this machine: charts, rooms, members,
live events, and every command of the console. The link on standard output is good
for one use, by a browser of your user (or of the user that has called sudo).

The page is on 127.0.0.1 and ends with this command: with Ctrl-C, with the terminal, or
30 seconds after the server has ended. For a server on another machine, forward the
port: ssh -L 7000:127.0.0.1:7000 HOST roomd admin web --port 7000

Exit status: 0 ended by a signal; 1 refused; 2 wrong usage; 3 the server cannot be reached.`,
		Example: `  roomd admin web
  roomd admin web --read-only
  roomd admin web --socket /run/roomd/roomd.sock --port 7000`,
		Args: usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			errw := cmd.ErrOrStderr()
			if socket == "" {
				var err error
				if socket, err = configuredSocket(file, errw, true); err != nil {
					var away unreachable
					if errors.As(err, &away) {
						fmt.Fprintf(errw, "roomd: %v\n", err)
						return exitStatus(exitUnreachable)
					}
					return err
				}
			}
			if socket == "" {
				return errNoSocket
			}
			if options.Port < 0 || options.Port > 65535 {
				return usage.New(cmd, fmt.Errorf("%d is not a port: a number from 1 to 65535", options.Port))
			}
			if status := admin.Once(socket, []string{"version"}, nil, io.Discard, errw, nil); status != exitOK {
				return exitStatus(status)
			}
			options.Socket = socket
			page, err := web.Open(options)
			if err != nil {
				return err
			}
			ctx, stop := admin.UntilSignal(cmd.Context())
			defer stop()
			fmt.Fprintln(cmd.OutOrStdout(), page.URL())
			fmt.Fprintln(errw, "the operator's page is ready: open the link in a browser on this machine; it is good for one use; Ctrl-C ends the page")
			if err := page.Run(ctx); err != nil {
				fmt.Fprintf(errw, "roomd: the page has ended: %v\n", err)
				return exitStatus(exitUnreachable)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "admin socket `FILE` of the server")
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE` that contains the path of the socket")
	cmd.Flags().BoolVar(&options.ReadOnly, "read-only", false, "refuse all commands that change something")
	cmd.Flags().IntVar(&options.Port, "port", 0, "`PORT` on 127.0.0.1; without it a free one")
	return cmd
}
