package admin

import (
	"slices"
	"strings"

	"roomd/netsvc/wire"
)

// completions returns the words that can end a line now: commands, flags, rooms, members,
// bans.
func (s *Server) completions(line string) []string {
	before, last := line, ""
	if i := strings.LastIndexAny(line, " \t"); i >= 0 {
		before, last = line[:i+1], line[i+1:]
	} else {
		before, last = "", line
	}
	words, err := split(before)
	if err != nil {
		return nil
	}
	var all []string
	if len(words) == 0 {
		all = commandNames()
	} else if cmd, err := find(words[0]); err == nil {
		all = s.candidates(cmd, words[1:], strings.HasPrefix(last, "-"))
	}
	fits := all[:0]
	for _, w := range all {
		if strings.HasPrefix(wire.Fold(w), wire.Fold(last)) {
			fits = append(fits, w)
		}
	}
	slices.SortFunc(fits, func(a, b string) int { return strings.Compare(wire.Fold(a), wire.Fold(b)) })
	return slices.Compact(fits)
}

// candidates returns the words that can follow these words of a command.
func (s *Server) candidates(cmd *command, words []string, flags bool) []string {
	args, _, open, err := cmd.scan(words)
	if err != nil {
		return nil
	}
	inner := watchedCommand(cmd, args)
	var all []string
	switch {
	case open.hasValue():
		return open.arg.candidates(s, args)
	case flags:
		for _, f := range cmd.allFlags() {
			all = append(all, "--"+f.name)
		}
		if inner != nil {
			all = append(all, s.candidates(inner, args[1:], true)...)
		}
		return all
	case inner != nil:
		return s.candidates(inner, args[1:], false)
	case len(args) >= len(cmd.args):
		return nil
	}
	return cmd.args[len(args)].candidates(s, args)
}
