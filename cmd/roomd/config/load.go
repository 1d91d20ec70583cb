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

// Var is the environment variable that names the configuration if --config does not.
const Var = "ROOMD_CONFIG"

const (
	localFile = "config.toml" // in the current folder

	// Installed is the configuration of a system package.
	Installed = "/etc/roomd/config.toml"
)

// candidates returns the files to try: only the one that --config or ROOMD_CONFIG names, or
// config.toml in the current folder and then the installed file. Root may be in a folder of
// another user, and so has to name the file there.
func candidates(file string, getenv func(string) string, uid int) (files []string, named bool) {
	switch file = cmp.Or(file, getenv(Var)); {
	case file != "":
		return []string{file}, true
	case uid == 0:
		return []string{Installed}, false
	}
	return []string{localFile, Installed}, false
}

// Load reads the configuration for a command that needs all keys: the file that file or
// ROOMD_CONFIG names, or the first that exists of config.toml in the current folder (not for
// root) and the installed file, or the defaults. port, if not 0, overrides the master port.
// The error is of type Mistakes if the contents are wrong.
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

// ignoredFile returns a warning about a configuration in the current folder that root has
// not named, or "".
func ignoredFile() string {
	text, err := readRegular(localFile)
	if err != nil {
		return ""
	}
	if p, _ := parse(localFile, text, 0); p.known == 0 || !p.isRoomd() {
		return ""
	}
	return localFile + " in the current folder is not used: root has to name it with --config"
}

// LoadKeys reads the configuration, from the same files as Load, for a command that needs
// some keys or sections ("history."). Mistakes in other keys are no error; if mistakes is
// set, LoadKeys warns of them on w. A file of another program that nobody has named is
// ignored, with a warning.
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
			continue // not every user may read the file of the server
		case err != nil:
			warn("%v; the file is not used", err)
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

// readRegular reads a file that nobody has named. Reading a pipe of that name would block.
func readRegular(name string) (string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

// isRoomd reports whether the file is a configuration of roomd, perhaps with mistakes: most of
// its keys are known. Other programs also have files of that name, and some have a key in
// common.
func (p *parser) isRoomd() bool { return len(p.unknown) == 0 || p.known > len(p.unknown) }

// notRoomd is the error about a file of another program.
func (p *parser) notRoomd() error {
	const most = 3
	slices.Sort(p.unknown)
	keys := strings.Join(p.unknown[:min(most, len(p.unknown))], ", ")
	if n := len(p.unknown) - most; n > 0 {
		keys += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s is not a configuration of roomd: it has the keys %s", p.file, keys)
}

// mistakesIn returns the mistakes that may concern one of these keys: a wrong value, a wrong
// spelling, or a line that could not be read and may have contained the key.
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
