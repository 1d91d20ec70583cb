package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/usage"
)

func newHealth() *cobra.Command {
	var file string
	var live bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Tell whether the server on this machine is ready, for probes",
		Long: `Tell whether the server on this machine is ready, for probes of containers and
service managers. It is not while it starts or stops, while the database is
read-only, or while the disk does not answer.

The admin socket is asked, or, if there is none, /readyz at metrics.listen. Both are
looked up in the configuration. A server that does not answer within 4 seconds cannot
be reached.

Exit status: 0 ready, 1 not ready, 2 wrong usage, 3 the server cannot be reached.`,
		Example: `  roomd health
  roomd health --live --config /etc/roomd/config.toml`,
		Args: usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.LoadKeys(file, cmd.ErrOrStderr(), true, "admin.socket", "metrics.listen")
			if err != nil {
				return err
			}
			status := 0
			switch {
			case c.Admin.Socket != "":
				words := []string{"health"}
				if live {
					words = append(words, "--live")
				}
				status = admin.Once(c.Admin.Socket, words, nil, cmd.OutOrStdout(), cmd.ErrOrStderr(), nil)
			case c.Metrics.Listen != "":
				path := "/readyz"
				if live {
					path = "/healthz"
				}
				status, err = probe(cmd.Context(), "http://"+c.Metrics.Listen+path, cmd.OutOrStdout())
			default:
				err = errors.New("admin.socket and metrics.listen are empty: nothing can be asked")
			}
			if err != nil || status == exitOK {
				return err
			}
			return exitStatus(status)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`")
	cmd.Flags().BoolVar(&live, "live", false, "ask only whether the server answers")
	return cmd
}

// probe prints what a URL answers, and returns the exit status.
func probe(ctx context.Context, url string, out io.Writer) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, admin.HealthTimeout)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // it uses no proxy: the server is on this machine
	answer, err := client.Do(ask)
	if err != nil {
		fmt.Fprintf(out, "the server cannot be reached: %v\n", err)
		return exitUnreachable, nil
	}
	defer answer.Body.Close()
	if _, err := io.Copy(out, io.LimitReader(answer.Body, 4<<10)); err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusOK {
		return exitFailed, nil
	}
	return exitOK, nil
}
