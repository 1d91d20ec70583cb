package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"roomd/cmd/roomd/usage"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  roomd version --json",
		Args:    usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), v)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v version) String() string {
	return fmt.Sprintf("roomd %s (commit %s, %s, %s)", v.Version, v.Commit, v.Go, v.Platform)
}

// number is the version that the source is on its way to, or is of.
//
//go:embed VERSION
var number string

// release is the version that `make` builds, which names the commit unless it is a release.
var release string

// thisVersion is what the Go tool has written into the binary.
func thisVersion() version {
	v := version{cmp.Or(release, strings.TrimSpace(number)+"-dev"), "unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
