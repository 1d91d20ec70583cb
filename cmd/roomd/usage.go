package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"roomd/admin"
)

// usageError is a command line that cannot be understood.
type usageError struct {
	err error
	cmd *cobra.Command
}

func (e usageError) Error() string {
	return fmt.Sprintf("%v\nTry '%s --help'.", e.err, e.cmd.CommandPath())
}

// exactly makes a wrong number of arguments a usage error.
func exactly(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return usageError{errors.New("usage: " + cmd.UseLine()), cmd}
	}
}

// noEmptyFlag refuses a flag with an empty text, as an unset variable of a script
// makes it: the command would do something else than it is asked to, in silence.
func noEmptyFlag(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			what, _ := pflag.UnquoteUsage(f)
			err = usageError{emptyFlag(f.Name, what), cmd}
		}
	})
	return err
}

func emptyFlag(name, what string) error {
	return fmt.Errorf("--%s is empty: say which %s, or leave it out", name, what)
}

// subcommands makes a word that is none of a command's own a usage error.
func subcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	if n := admin.Nearest(args[0], known); n != "" {
		text += "; did you mean " + n + "?"
	}
	return usageError{errors.New(text), cmd}
}

// strictHelp makes "help" of a command that is not there a usage error, which
// it is not to cobra.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Use, help.Short, help.Long = "help [COMMAND]", "Show the help of a command", ""
	help.Example = "  roomd help serve\n  roomd help store restore"
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil {
			return usageError{err, root}
		}
		if len(rest) > 0 && !cmd.DisableFlagParsing {
			return subcommands(cmd, rest)
		}
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		return cmd.Help()
	}
}

// plainUsage takes the marks of values out of what the flags do, for the shells'
// completion, which shows them as they are.
func plainUsage(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, c := range cmd.Commands() {
		plainUsage(c)
	}
}

// wrongFlag is an error of a flag in our words.
func wrongFlag(cmd *cobra.Command, err error) error {
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
		text := fmt.Sprintf("%s has no --%s", cmd.CommandPath(), unknown.GetSpecifiedName())
		if n := admin.Nearest(unknown.GetSpecifiedName(), known); n != "" {
			text += "; did you mean --" + n + "?"
		}
		err = errors.New(text)
	}
	return usageError{err, cmd}
}

// flagKinds are what flags take, by their types.
var flagKinds = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "float64": "a number", "bool": "true or false",
	"time": `a time like 30s, 5m, 24h or 30d`,
}

// timeValue is a flag that is a time, with days.
type timeValue time.Duration

func (t *timeValue) Set(text string) error {
	d, err := admin.ParseDuration(text)
	if err == nil {
		*t = timeValue(d)
	}
	return err
}

func (t *timeValue) String() string { return time.Duration(*t).String() }
func (t *timeValue) Type() string   { return "time" }

// timeVar adds a flag that is a time.
func timeVar(f *pflag.FlagSet, to *time.Duration, name string, otherwise time.Duration, usage string) {
	*to = otherwise
	f.Var((*timeValue)(to), name, usage)
}
