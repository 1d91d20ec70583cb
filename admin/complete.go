package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"roomd/netsvc"
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
		all = s.candidates(cmd, words[1:], strings.HasPrefix(last, "-"))
	}
	fits := all[:0]
	for _, w := range all {
		if strings.HasPrefix(netsvc.Fold(w), netsvc.Fold(last)) {
			fits = append(fits, w)
		}
	}
	slices.SortFunc(fits, func(a, b string) int { return strings.Compare(netsvc.Fold(a), netsvc.Fold(b)) })
	return slices.Compact(fits)
}

func names() []string {
	var all []string
	for i := range table {
		all = append(all, table[i].name)
	}
	return all
}

// candidates are what may follow these words of a command: flags, the value of
// one, or an argument.
func (s *Server) candidates(cmd *command, words []string, flags bool) []string {
	var args []string
	var open flag // the value of which is missing
	for _, w := range words {
		switch {
		case open.arg != "":
			open = flag{}
		case strings.HasPrefix(w, "-") && len(w) > 1:
			name, _, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
			if f, err := cmd.flag(name, args); err == nil && !has {
				open = f
			}
		default:
			args = append(args, w)
		}
	}
	inner := watched(cmd, args)
	var all []string
	switch {
	case open.arg != "":
		return s.kinds(cmd, open.arg, args)
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
	}
	usage := strings.Fields(cmd.args)
	if len(args) >= len(usage) {
		return nil
	}
	return s.kinds(cmd, strings.Trim(usage[len(args)], "[]."), args)
}

// kinds are the words that a placeholder of the usage stands for, as they are
// now. What is in lower case stands for itself.
func (s *Server) kinds(cmd *command, kinds string, args []string) (all []string) {
	for kind := range strings.SplitSeq(kinds, "|") {
		switch kind {
		case "ROOM":
			all = append(all, s.roomNames(cmd)...)
		case "NICK", "ADDR":
			members, err := s.Service.Members("")
			if err != nil {
				return nil
			}
			for _, m := range members {
				word := m.Nick
				if kind == "ADDR" {
					if at, err := netip.ParseAddrPort(m.Remote); err == nil {
						word = at.Addr().String()
					}
				}
				all = append(all, word)
			}
			if kind == "NICK" && cmd.name == "unmute" { // whoever is muted may have gone
				for _, b := range s.Service.Bans() {
					if b.Mute {
						all = append(all, b.Nick)
					}
				}
			}
		case "ID":
			if cmd.name == "unban" {
				for _, b := range s.Service.Bans() {
					all = append(all, fmt.Sprint(b.ID))
				}
			}
		case "COMMAND":
			for i := range table {
				if cmd.name != "watch" || table[i].looks() {
					all = append(all, table[i].name)
				}
			}
		case "KEY":
			for _, k := range roomSettings {
				all = append(all, k.key)
			}
		case "VALUE":
			k, err := findSetting(args[1])
			if err != nil || k.set != nil {
				all = append(all, "default")
			}
			if err == nil && strings.HasPrefix(k.values, "on") {
				all = append(all, "on", "off")
			}
		case "N":
			if cmd.name == "port" || cmd.name == "create" {
				for _, p := range s.Service.Ports().Next {
					all = append(all, fmt.Sprint(p))
				}
			}
		default:
			if kind == strings.ToLower(kind) { // a word of the usage, and no name
				all = append(all, kind)
			}
		}
	}
	return all
}

// roomNames are the rooms that a command may be about.
func (s *Server) roomNames(cmd *command) (all []string) {
	switch cmd.name {
	case "create":
	case "restore", "purge":
		trash, err := s.Service.Trash()
		if err != nil {
			return nil
		}
		for _, t := range trash {
			all = append(all, t.Name)
		}
	case "rebind":
		for _, w := range s.Service.Ports().Unbound {
			all = append(all, w.Room)
		}
	default:
		for _, r := range s.Service.List() {
			all = append(all, r.Name)
		}
	}
	return all
}
