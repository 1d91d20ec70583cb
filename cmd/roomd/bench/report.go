package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Report measures several runs, and writes tables of them.
type Report struct {
	Roomd string // its binary
	Dir   string // folder for those of the servers; empty: the system's place for temporary files
	Runs  int    // how often each shape is run, for the medians; at least 1
	Page  string // a Markdown page that gets the tables in place of those it has; empty: none

	// Of Compare alone.
	Pause time.Duration // after each measurement
	Peers bool          // Redis, NATS, InspIRCd and ngIRCd are measured too, if they are installed
	JSON  bool          // Out gets one JSON array, all runs included

	Out      io.Writer // gets the tables
	Progress io.Writer // gets a line after each measurement
}

// write prints sections, and puts them into the page in place of those of a name.
func (p *Report) write(name string, sections []section) error {
	for _, s := range sections {
		fmt.Fprintf(p.Out, "%s\n\n", s.note)
		if err := Print(p.Out, s.rows); err != nil {
			return err
		}
		fmt.Fprintln(p.Out)
	}
	if p.Page == "" {
		return nil
	}
	return writePage(p.Page, name, sections)
}

// Print writes a table with aligned columns.
func Print(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// PrintJSON writes results for programs.
func PrintJSON(w io.Writer, results any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(results)
}

// SeparateProcessors keeps this process on the second processor from now on, and returns the
// first, for the server; -1 if there is only one.
func SeparateProcessors() (int, error) {
	if runtime.NumCPU() < 2 {
		return -1, nil
	}
	runtime.GOMAXPROCS(1)
	return 0, pin(1, true)
}
