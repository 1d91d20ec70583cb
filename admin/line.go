package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"roomd/admin/english"
	"roomd/netsvc"
)

// find returns the command that a word means; the word may be abbreviated.
func find(word string) (*command, error) {
	names := commandNames()
	switch found := matchPrefix(word, names); len(found) {
	case 1:
		return &table[slices.Index(names, found[0])], nil
	case 0:
		return nil, refuse("usage", "there is no command %q%s; help lists them", word, didYouMean(word, names))
	default:
		return nil, refuse("usage", "%q is ambiguous: it can be %s", word, strings.Join(found, " or "))
	}
}

// fullUsage returns the usage with all flags of the command.
func (c *command) fullUsage() string {
	text := c.usage()
	for _, f := range c.flags {
		text += " [" + f.usage() + "]"
	}
	return text
}

// dashed returns a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func (c *command) usage() string {
	text := c.name
	for _, p := range c.args {
		text += " " + p.usage()
	}
	return text
}

// commandNames returns the names of all commands.
func commandNames() []string {
	return mapSlice(table, func(c command) string { return c.name })
}

// colorFlag is set by our clients if their terminal has colours. Help does not show it.
const colorFlag = "color"

// pageFlag is set by the operator's page, so that the audit has its door. Help does not show it.
const pageFlag = "page"

// allFlags returns the flags of the command and those that all commands have.
func (c *command) allFlags() []flag {
	all := slices.Clone(c.flags)
	switch {
	case c.changes:
		all = append(all, dryFlag)
	case !c.console:
		all = append(all, relativeFlag)
	}
	return append(all, jsonFlag)
}

// flag finds a flag by its name, which may be abbreviated. A watch also has the flags of the
// command that it repeats.
func (c *command) flag(word string, args []string) (flag, error) {
	all := append(c.allFlags(), flag{name: colorFlag}, flag{name: pageFlag})
	if c.name == "backup" {
		all = append(all, flag{name: filesFlag, arg: param{name: "IDENTITIES"}})
	}
	if inner := watchedCommand(c, args); inner != nil {
		all = append(all, inner.allFlags()...)
	}
	var known []string
	for _, f := range all {
		name := "--" + f.name
		if f.name == word {
			return f, nil
		}
		if f.short != "" && !slices.Contains(known, name) { // hidden flags have no text
			known = append(known, name)
		}
	}
	switch names := matchPrefix("--"+word, known); len(names) {
	case 1:
		return c.flag(names[0][2:], args)
	case 0:
		return flag{}, refuse("usage", "%s has no flag --%s%s; help %s lists its flags", c.name, word, didYouMean("--"+word, known), c.name)
	default:
		return flag{}, refuse("usage", "--%s is ambiguous: it can be %s", word, strings.Join(names, " or "))
	}
}

// parse reads a line into a command, its arguments and its flags.
func parse(line string) (*command, []string, map[string]string, error) {
	words, err := split(line)
	if err != nil {
		return nil, nil, nil, err
	}
	// Our clients put their flags in front of the command, because the line may have a "--".
	n := 0
	for n < len(words) && strings.HasPrefix(words[n], "--") {
		n++
	}
	if len(words) == n {
		return nil, nil, nil, refuse("usage", "the command is missing; help lists the commands")
	}
	cmd, err := find(words[n])
	if err != nil {
		return nil, nil, nil, err
	}
	args, flags, open, err := cmd.scan(slices.Concat(words[:n], words[n+1:]))
	switch {
	case errors.Is(err, errHelp):
		about, err := find("help")
		return about, []string{cmd.name}, flags, err
	case err != nil:
		return nil, nil, nil, err
	case open.hasValue():
		return nil, nil, nil, refuse("usage", "%s needs a value: %s", dashed(open.name), open.usage())
	case !cmd.fits(args):
		return nil, nil, nil, refuse("usage", "usage: %s", cmd.fullUsage())
	}
	return cmd, args, flags, nil
}

// errHelp means that the line has --help or -h.
var errHelp = errors.New("help")

// scan sorts words into the arguments and the flags of a command. open is a flag at the end
// whose value is missing.
func (c *command) scan(words []string) (args []string, flags map[string]string, open flag, err error) {
	flags = make(map[string]string)
	for i, w := range words {
		switch {
		case open.hasValue():
			flags[open.name], open = w, flag{}
			continue
		case len(w) < 2 || w[0] != '-' || w[1] >= '0' && w[1] <= '9':
			args = append(args, w)
			continue
		case w == "--":
			return append(args, words[i+1:]...), flags, open, nil
		case w == "--help" || w == "-h":
			return args, flags, open, errHelp
		}
		name, value, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
		f, err := c.flag(name, args)
		switch {
		case err != nil:
			return args, flags, open, err
		case !f.hasValue() && has:
			return args, flags, open, refuse("usage", "--%s takes no value", f.name)
		case f.hasValue() && !has:
			open = f
		default:
			flags[f.name] = value
		}
	}
	return args, flags, open, nil
}

// fits reports whether the command takes this number of arguments.
func (c *command) fits(args []string) bool {
	least, most := 0, len(c.args)
	for _, p := range c.args {
		if !p.optional {
			least++
		}
		if p.variadic {
			most = len(args)
		}
	}
	return len(args) >= least && len(args) <= most
}

// split cuts a line into words. Quotes of either kind keep spaces; in double quotes a
// backslash quotes the next character.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote, escaped := false, rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quote == '"' && r == '\\':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 || escaped {
		return nil, refuse("usage", "a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// Join is the inverse of split: it returns a line of these words.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\"'\\") {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// oneLine joins the lines of a text, as errors may have several, and makes them printable.
func oneLine(text string) string {
	return netsvc.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// didYouMean suggests the nearest of the known words for the middle of a sentence, or is "".
func didYouMean(word string, known []string) string {
	return strings.TrimSuffix(english.DidYouMean(word, known), "?")
}

// mapSlice returns the results of a function for each element.
func mapSlice[T, U any](all []T, of func(T) U) []U {
	made := make([]U, len(all))
	for i, v := range all {
		made[i] = of(v)
	}
	return made
}

// matchPrefix returns the names that a word may mean: the name itself, or all that it begins.
func matchPrefix(word string, names []string) []string {
	if slices.Contains(names, word) {
		return []string{word}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, word) })
}

// Summary returns each command with its usage, in one or two lines, for the help without a
// server.
func Summary() []string { return mapSlice(table, func(c command) string { return c.summary() }) }

// summary returns the usage and the short description, which begins in the same column for all
// commands. With the indentation of the help it fits 80 columns.
func (c *command) summary() string {
	const column = 24
	usage := c.usage()
	if len(usage) > column-2 {
		return usage + "\n" + strings.Repeat(" ", column) + c.short
	}
	return fmt.Sprintf("%-*s%s", column, usage, c.short)
}
