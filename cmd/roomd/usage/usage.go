package usage

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"roomd/admin/english"
	"roomd/admin/value"
)

// Error is a command line that cannot be understood: why, and where help is.
type Error struct {
	err error
	cmd *cobra.Command
}

// New makes an Error of a command.
func New(cmd *cobra.Command, why error) Error { return Error{why, cmd} }

func (e Error) Error() string {
	return fmt.Sprintf("%v\nTry '%s --help'.", e.err, e.cmd.CommandPath())
}

// Args makes a wrong number of arguments a usage error.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		text := "usage: " + cmd.UseLine()
		if most == 0 {
			text += fmt.Sprintf("; it takes no argument, not %q", args[0])
			if cmd.Flag("config") != nil {
				text += ": --config FILE names the configuration, and that the database (server.data)"
			}
		}
		return New(cmd, errors.New(text))
	}
}

// NoEmptyFlag refuses a flag with an empty text, as an unset variable of a script
// makes it: the command would do something else than it is asked to, in silence.
func NoEmptyFlag(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			what, _ := pflag.UnquoteUsage(f)
			err = New(cmd, EmptyFlag(f.Name, what))
		}
	})
	return err
}

// EmptyFlag is the error about a flag with an empty text; what is the name of its value.
func EmptyFlag(name, what string) error {
	return fmt.Errorf("--%s is empty: say which %s, or leave it out", name, what)
}

// Subcommands makes a word that is none of a command's own a usage error.
func Subcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	return New(cmd, fmt.Errorf("%s has no command %q%s", cmd.CommandPath(), args[0], english.DidYouMean(args[0], known)))
}

// StrictHelp makes "help" of a command that is not there a usage error, which
// it is not to cobra.
func StrictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Use, help.Short, help.Long = "help [COMMAND]", "Show the help of a command", ""
	help.Example = "  roomd help serve\n  roomd help store restore"
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil {
			return New(root, err)
		}
		if len(rest) > 0 && !cmd.DisableFlagParsing {
			return Subcommands(cmd, rest)
		}
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		return cmd.Help()
	}
}

// StripQuotes takes the marks of values out of the descriptions of flags, for the shells'
// completion, which shows them as they are.
func StripQuotes(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, c := range cmd.Commands() {
		StripQuotes(c)
	}
}

// FlagError is an error of a flag in our words.
func FlagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		f := value.GetFlag()
		err = fmt.Errorf("--%s takes %s, not %q", f.Name, flagKinds[f.Value.Type()], value.GetValue())
		if _, ok := flagKinds[f.Value.Type()]; !ok {
			err = fmt.Errorf("--%s: %w", f.Name, value.Unwrap())
		}
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		name := unknown.GetSpecifiedName()
		err = fmt.Errorf("%s has no --%s", cmd.CommandPath(), name)
		if n := english.Nearest(name, known); n != "" {
			err = fmt.Errorf("%w; did you mean --%s?", err, n)
		}
	}
	return New(cmd, err)
}

// flagKinds are what flags take, by their types.
var flagKinds = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "float64": "a number", "bool": "true or false",
	"time": `a time like 30s, 5m, 24h or 30d`,
}

// durationValue is a flag that is a time, with days.
type durationValue time.Duration

func (t *durationValue) Set(text string) error {
	d, err := value.ParseDuration(text)
	if err == nil {
		*t = durationValue(d)
	}
	return err
}

func (t *durationValue) String() string { return time.Duration(*t).String() }
func (t *durationValue) Type() string   { return "time" }

// DurationVar adds a flag that is a time.
func DurationVar(f *pflag.FlagSet, to *time.Duration, name string, otherwise time.Duration, usage string) {
	*to = otherwise
	f.Var((*durationValue)(to), name, usage)
}
