package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"roomd/admin/english"
)

// Var is the variable that names the configuration where --config does not.
const Var = "ROOMD_CONFIG"

const (
	localFile = "config.toml" // in the folder that a command is started in

	// Installed is where a package puts the configuration.
	Installed = "/etc/roomd/config.toml"
)

// candidates is where a configuration is looked for: the file that is named with
// --config or ROOMD_CONFIG, and no other one; else config.toml here, and then the
// installed one. Root stands in folders of other people: for it the one here has
// to be named.
func candidates(file string, getenv func(string) string, uid int) (files []string, named bool) {
	switch file = cmp.Or(file, getenv(Var)); {
	case file != "":
		return []string{file}, true
	case uid == 0:
		return []string{Installed}, false
	}
	return []string{localFile, Installed}, false
}

// Load reads the configuration for a command that goes by all of it: the file that is
// named, by file or by ROOMD_CONFIG; else the first that is there of config.toml here
// (not for root) and the installed one; else the defaults. port, if not 0, overrides
// the master port. The error is of type Mistakes if the contents are wrong.
func Load(file string, port int) (*Config, error) {
	files, named := candidates(file, os.Getenv, os.Geteuid())
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) && !named {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if p, _ := parse(f, string(text), port); !named && !p.isRoomd() {
			return nil, fmt.Errorf("%w; name yours with --config", p.notRoomd())
		}
		return Parse(f, string(text), port)
	}
	c, err := Parse("", "", port)
	if err == nil && files[0] != localFile {
		c.Ignored = ignoredFile()
	}
	return c, err
}

// ignoredFile is a sentence about a configuration here that root has not named, or
// "".
func ignoredFile() string {
	text, err := readRegular(localFile)
	if err != nil {
		return ""
	}
	if p, _ := parse(localFile, text, 0); p.known == 0 || !p.isRoomd() {
		return ""
	}
	return localFile + " in this folder is not used: for root it has to be named, with --config"
}

// LoadKeys reads the configuration, where Load finds it, for a command that needs some
// keys of it, or all keys of a section ("history."). What is wrong elsewhere in the file
// does not concern the command: it is a warning to w, if mistakes is set. A file that
// nobody has named and that is another program's is passed over, with a warning.
func LoadKeys(file string, w io.Writer, mistakes bool, names ...string) (*Config, error) {
	warn := func(format string, args ...any) { fmt.Fprintf(w, "roomd: warning: "+format+"\n", args...) }
	files, named := candidates(file, os.Getenv, os.Geteuid())
	for _, f := range files {
		read := readRegular
		if named {
			read = func(name string) (string, error) {
				b, err := os.ReadFile(name)
				return string(b), err
			}
		}
		text, err := read(f)
		switch {
		case err != nil && named:
			return nil, fmt.Errorf("read the configuration: %w", err)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission) && f == Installed:
			continue // the server's own file is not for everybody
		case err != nil:
			warn("%v; it is not used", err)
			continue
		}
		p, c := parse(f, text, 0)
		switch wrong := p.mistakesIn(names); {
		case !p.isRoomd() && named:
			return nil, p.notRoomd()
		case !p.isRoomd():
			warn("%v, and is not used", p.notRoomd())
			continue
		case len(wrong) > 0:
			return nil, wrong
		case !mistakes:
		case len(p.mistakes) == 1:
			warn("%v", p.mistakes)
		case len(p.mistakes) > 0:
			warn("%s has %s; roomd check lists them", f, english.Plural(len(p.mistakes), "mistake"))
		}
		return c, nil
	}
	c := Default()
	c.resolve(".")
	if files[0] != localFile {
		if text := ignoredFile(); text != "" {
			warn("%s", text)
		}
	}
	return c, nil
}

// readRegular reads a file that nobody has named: a pipe of that name would be
// waited for.
func readRegular(name string) (string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", name)
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

// isRoomd reports whether the file is a configuration of roomd, mistakes included:
// most of its keys are. Other programs have files of that name, too, and some
// even the same key now and then.
func (p *parser) isRoomd() bool { return len(p.unknown) == 0 || p.known > len(p.unknown) }

// notRoomd says what file it is.
func (p *parser) notRoomd() error {
	const most = 3
	slices.Sort(p.unknown)
	keys := strings.Join(p.unknown[:min(most, len(p.unknown))], ", ")
	if n := len(p.unknown) - most; n > 0 {
		keys += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s is not a configuration of roomd: it has %s", p.file, keys)
}

// mistakesIn are the mistakes that may be about one of these keys: in its value,
// in its spelling, or in a line that may have had it.
func (p *parser) mistakesIn(names []string) (wrong Mistakes) {
	bare := func(k string) string { return k[strings.LastIndexByte(k, '.')+1:] }
	for _, m := range p.mistakes {
		if slices.ContainsFunc(names, func(k string) bool {
			section, all := strings.CutSuffix(k, ".")
			switch {
			case m.key == "file":
				return true
			case m.key == "syntax":
				return slices.ContainsFunc(p.dropped, func(line string) bool {
					return all || strings.Contains(line, bare(k))
				})
			case all:
				return strings.HasPrefix(m.key, k) || m.key == section
			}
			name, _, _ := strings.Cut(k, ".")
			return m.key == k || m.key == name || slices.Contains(p.unknown, m.key) && (bare(m.key) == bare(k) || strings.HasSuffix(m.text, "did you mean "+k+"?"))
		}) {
			wrong = append(wrong, m)
		}
	}
	return wrong
}
