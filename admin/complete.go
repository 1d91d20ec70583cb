package admin

import (
	"fmt"
	"slices"
	"strings"
)

// complete yields the words that may stand at the end of a line, as they are
// now: commands, flags, rooms, members, bans.
func (s *Server) complete(line string) []string {
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
		all = names()
	} else if cmd, err := find(words[0]); err == nil {
		if strings.HasPrefix(last, "-") {
			for _, f := range append(slices.Clone(cmd.flags), flag{name: "json"}) {
				all = append(all, "--"+f.name)
			}
		} else {
			all = s.candidates(cmd, words)
		}
	}
	fits := all[:0]
	for _, w := range all {
		if strings.HasPrefix(strings.ToLower(w), strings.ToLower(last)) {
			fits = append(fits, w)
		}
	}
	slices.SortFunc(fits, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.Compact(fits)
}

func names() []string {
	var all []string
	for i := range table {
		all = append(all, table[i].name)
	}
	return all
}

// candidates are what an argument of a command, or the value of a flag, may be.
func (s *Server) candidates(cmd *command, words []string) []string {
	kind := ""
	if f, ok := cmd.flag(strings.TrimLeft(words[len(words)-1], "-")); ok && strings.HasPrefix(words[len(words)-1], "-") {
		kind = f.arg
	} else {
		n := 0 // arguments before this one
		for _, w := range words[1:] {
			if !strings.HasPrefix(w, "-") {
				n++
			}
		}
		if args := strings.Fields(cmd.args); n < len(args) {
			kind = strings.Trim(args[n], "[].")
		}
	}
	var all []string
	for k := range strings.SplitSeq(kind, "|") {
		switch k {
		case "ROOM":
			if cmd.name == "restore" || cmd.name == "purge" {
				trash, err := s.Service.Trash()
				if err != nil {
					return nil
				}
				for _, t := range trash {
					all = append(all, t.Name)
				}
				continue
			}
			for _, r := range s.Service.List() {
				all = append(all, r.Name)
			}
		case "NICK":
			members, err := s.Service.Members("")
			if err != nil {
				return nil
			}
			for _, m := range members {
				all = append(all, m.Nick)
			}
		case "ID":
			if cmd.name == "unban" {
				for _, b := range s.Service.Bans() {
					all = append(all, fmt.Sprint(b.ID))
				}
			}
		case "COMMAND":
			all = append(all, names()...)
		default:
			if k == strings.ToLower(k) {
				all = append(all, k) // a word as it is
			}
		}
	}
	return all
}
