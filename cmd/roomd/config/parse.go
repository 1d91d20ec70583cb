package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"roomd/admin/english"
	"roomd/netsvc/wire"
)

// mistake is one error in a configuration file.
type mistake struct {
	file string
	line int // 1 is the first; 0: the command line
	key  string
	text string
}

// Mistakes is the error of a file with wrong contents: all mistakes, at least one, in the
// order of the file. The text has one line for each.
type Mistakes []mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		where := fmt.Sprintf("%s:%d", m.file, m.line)
		if m.line == 0 {
			where = "command line"
		}
		lines[i] = fmt.Sprintf("%s: %s: %s", where, m.key, m.text)
	}
	return strings.Join(lines, "\n")
}

// parser collects the mistakes in a file.
type parser struct {
	file     string
	lines    map[string]int // the line of each key
	mistakes Mistakes
	dropped  []string // lines that are not TOML
	known    int      // number of known keys
	unknown  []string // keys that are not known
}

func (p *parser) add(line int, key, format string, args ...any) {
	p.mistakes = append(p.mistakes, mistake{p.file, line, key, fmt.Sprintf(format, args...)})
}

// addAt is add for the first of several keys that is in the file.
func (p *parser) addAt(names []string, format string, args ...any) {
	for _, k := range names {
		if n := p.lines[k]; n > 0 {
			p.add(n, k, format, args...)
			return
		}
	}
	p.add(0, names[0], format, args...)
}

// Parse reads the text of a file. Mistakes name the file, and relative paths begin at its
// folder. port, if not 0, overrides the master port. Missing keys have their defaults. The
// error is of type Mistakes.
func Parse(file, text string, port int) (*Config, error) {
	p, c := parse(file, text, port)
	if len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	return c, nil
}

// parse reads as much of the text as possible, and collects the mistakes.
func parse(file, text string, port int) (*parser, *Config) {
	p := &parser{file: file, lines: make(map[string]int)}
	values := p.read(text)
	c := Default()
	c.Path = file
	p.apply(c, values)
	if port != 0 {
		c.Server.Port = port
	}
	if _, set := values["irc.listen"]; !set && c.TLS.Cert != "" {
		c.IRC.Listen = ircListen(ircTLSPort) // every port speaks TLS
	}
	p.checkCombinations(c)
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return a.line - b.line })
	c.resolve(filepath.Dir(file))
	return p, c
}

// read parses the text into flat keys and records their lines. A line that is not TOML is
// reported and dropped, so that mistakes in the rest are found, too.
func (p *parser) read(text string) map[string]any {
	const mostErrors = 20
	if len(text) > maxFileBytes {
		p.add(1, "file", "it has %d bytes; a configuration has %d at most", len(text), maxFileBytes)
		return nil
	}
	lines := strings.SplitAfter(text, "\n")
	var tree map[string]any
	for range mostErrors {
		tree = nil
		text := strings.Join(lines, "")
		_, err := toml.Decode(text, &tree)
		if err == nil {
			break
		}
		var syntax toml.ParseError
		if !errors.As(err, &syntax) {
			p.add(1, "file", "%v", err)
			return nil
		}
		// The line number of the error may be one too large, after a misplaced line end; the
		// start position is exact.
		n := min(1+strings.Count(text[:min(max(syntax.Position.Start, 0), len(text))], "\n"), len(lines))
		p.add(n, "syntax", "%s", wire.CleanString(strings.TrimPrefix(syntax.Message, "toml: ")))
		// A value without an end is reported at the end of the file: then drop the last line
		// with text.
		for n > 1 && strings.TrimSpace(lines[n-1]) == "" {
			n--
		}
		p.dropped = append(p.dropped, lines[n-1])
		lines[n-1] = "\n"
	}
	values := make(map[string]any)
	flatten("", tree, values)
	p.locate(lines)
	return values
}

func flatten(prefix string, tree, into map[string]any) {
	for k, v := range tree {
		if sub, ok := v.(map[string]any); ok {
			if prefix == "" {
				into[k] = section{}
			}
			flatten(prefix+k+".", sub, into)
			continue
		}
		into[prefix+k] = v
	}
}

// maxFileBytes bounds a file, because finding the lines of the keys takes quadratic time. It
// is far more than a configuration needs.
const maxFileBytes = 64 << 10

// section is the value of a table in the flat keys.
type section struct{}

// locate finds the line of each key, which the TOML package does not report. It parses
// longer and longer beginnings of the file; a key is on the line with which it first
// appears. A value over several lines appears with its last line; it began after the last
// beginning that could be parsed.
func (p *parser) locate(lines []string) {
	start, text := 0, ""
	for i, line := range lines {
		text += line
		if s := strings.TrimSpace(line); s == "" || strings.HasPrefix(s, "#") {
			if start == i {
				start = i + 1
			}
			continue
		}
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			continue
		}
		there := make(map[string]any)
		flatten("", tree, there)
		for k := range there {
			if _, known := p.lines[k]; !known {
				p.lines[k] = start + 1
			}
		}
		start = i + 1
	}
}

// apply sets the values of the file and reports wrong values and unknown keys.
func (p *parser) apply(c *Config, values map[string]any) {
	known := make(map[string]bool)
	for _, k := range keys {
		known[k.name] = true
		name, _, _ := strings.Cut(k.name, ".")
		known[name] = true
		if v, ok := values[k.name]; ok {
			p.known++
			if err := k.set(c, v); err != nil {
				p.add(p.lines[k.name], k.name, "%v", err)
			}
		}
	}
	for k, v := range values {
		_, isSection := v.(section)
		if !known[k] && !isSection {
			p.unknown = append(p.unknown, wire.CleanString(k))
		}
		switch name, _, dotted := strings.Cut(k, "."); {
		case known[k] && isSection == !strings.Contains(k, "."):
		case known[k] && !dotted:
			p.add(p.lines[k], k, "this is a section; write it as [%s]", k)
		case isSection:
			p.add(p.lines[k], wire.CleanString(k), "there is no section [%s]%s", wire.CleanString(k), nearest(k, true))
		case dotted && !known[name]: // the section is reported
		default:
			p.add(p.lines[k], wire.CleanString(k), "there is no such key%s", nearest(k, false))
		}
	}
}

// nearest suggests a known key or section, as the end of a sentence, or returns "".
func nearest(k string, sections bool) string {
	var known []string
	for _, key := range keys {
		section, bare, _ := strings.Cut(key.name, ".")
		switch {
		case sections:
			known = append(known, section)
		case k == bare: // the key only lacks its section
			return "; did you mean " + key.name + "?"
		default:
			known = append(known, key.name)
		}
	}
	return english.DidYouMean(k, known)
}

// checkCombinations checks the rules that concern more than one key.
func (p *parser) checkCombinations(c *Config) {
	r := c.Rooms.Ports
	ports := []string{"rooms.ports", "rooms.max"}
	usable := r.Last - r.First + 1
	if c.Server.Port >= r.First && c.Server.Port <= r.Last {
		usable-- // the master port lies among them and is skipped
	}
	if usable < c.Rooms.Max {
		p.addAt(ports, `"%v" has %s for %s; widen it, or lower rooms.max`, r, english.Plural(usable, "port"), english.Plural(c.Rooms.Max, "room"))
	}
	if o := c.Server.Advertise.Offset; min(r.First, c.Server.Port)+o < 1 || max(r.Last, c.Server.Port)+o > 65535 {
		p.addAt([]string{"server.advertise", "rooms.ports", "server.port"}, "with %+d the ports %v and %d go beyond 1 to 65535", o, r, c.Server.Port)
	}
	if p.lines["irc.listen"] > 0 { // one that is not set may be in use like any other port
		for _, a := range c.IRC.Listen {
			if c.IsMaster(a) {
				p.addAt([]string{"irc.listen"}, "%v is the master port; write another port", a)
			}
		}
	}
	if a := c.Web.Listen.Addr; a.IsValid() {
		if c.IsMaster(a) {
			p.addAt([]string{"web.listen"}, `%v is the master port; write "master"`, a)
		}
		for _, irc := range c.IRC.Listen {
			if p.lines["irc.listen"] > 0 && irc.Port() == a.Port() && overlap(irc.Addr(), a.Addr()) {
				p.addAt([]string{"web.listen"}, "%v is in irc.listen; write another port", a)
			}
		}
	}
	seen := make(map[string]bool)
	for _, name := range c.Server.Create {
		n, err := wire.ParseName(name)
		switch {
		case err != nil:
			p.addAt([]string{"server.create"}, "%v", err)
		case seen[n.Key]:
			p.addAt([]string{"server.create"}, "%s is there twice; write it once", n.Shown)
		}
		seen[n.Key] = true
	}
	switch n := len(c.Server.Create); {
	case c.Rooms.Max > 0 && n > c.Rooms.Max:
		p.addAt([]string{"server.create", "rooms.max"}, "%s are more than rooms.max allows, which is %d", english.Plural(n, "room"), c.Rooms.Max)
	case n > usable:
		p.addAt([]string{"server.create", "rooms.ports"}, "%s are more than rooms.ports has, which are %d", english.Plural(n, "room"), usable)
	}
	switch {
	case c.TLS.Cert != "" && c.TLS.Key == "":
		p.addAt([]string{"tls.cert"}, "tls.key is missing; write both, or none")
	case c.TLS.Cert == "" && c.TLS.Key != "":
		p.addAt([]string{"tls.key"}, "tls.cert is missing; write both, or none")
	}
}
