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

// Error is a wrong command line: the reason, and the command whose help to read.
type Error struct {
	err error
	cmd *cobra.Command
}

// New makes an Error of a command.
func New(cmd *cobra.Command, why error) Error { return Error{why, cmd} }

func (e Error) Error() string {
	return fmt.Sprintf("%v\nTry '%s --help'.", e.err, e.cmd.CommandPath())
}

// Args returns a check of the number of arguments.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		text := "usage: " + cmd.UseLine()
		if most == 0 {
			text += fmt.Sprintf("; %q is one argument too many", args[0])
			if cmd.Flag("config") != nil {
				text += "; --config FILE names the configuration, which names the database (server.data)"
			}
		}
		return New(cmd, errors.New(text))
	}
}

// NoEmptyFlag refuses a flag with an empty text. It comes from an unset variable of a script,
// and the command would silently use the default instead.
func NoEmptyFlag(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			what, _ := pflag.UnquoteUsage(f)
			err = New(cmd, EmptyFlag(f.Name, what))
		}
	})
	return err
}

// EmptyFlag is the error about a flag with an empty text; value is the name of its value.
func EmptyFlag(name, value string) error {
	return fmt.Errorf("--%s is empty: give it a %s, or leave it out", name, value)
}

// Subcommands refuses a word that is not a subcommand.
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

// StrictHelp makes "help" of an unknown command a usage error, which cobra does not.
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

// StripQuotes removes the back quotes around values from the descriptions of flags, for the
// completion of shells, which shows them.
func StripQuotes(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, c := range cmd.Commands() {
		StripQuotes(c)
	}
}

// FlagError explains an error of a flag.
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

// flagKinds describes the values of flags, by their types.
var flagKinds = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "float64": "a number", "bool": "true or false",
	"time": `a time like 30s, 5m, 24h or 30d`,
}

// durationValue is the value of a flag with a time, which may have days.
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

// DurationVar adds a flag with a time.
func DurationVar(f *pflag.FlagSet, to *time.Duration, name string, otherwise time.Duration, usage string) {
	*to = otherwise
	f.Var((*durationValue)(to), name, usage)
}
