package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/admin/value"
	"roomd/netsvc"
	"roomd/store"
)

var setCommand = command{
	name: "set", args: []param{roomArg, keyArg.asOptional(), valueArg.asOptional()}, short: "Show or change the settings of one room", about: "Without VALUE: show; OWN marks the settings of the room. A setting of the room replaces the value in the configuration; the value default removes the setting.",
	example: "set dev lines 1000", changes: true, flags: []flag{yesFlag, tokenFlag, {name: "remove", short: "remove the password"}}, run: set,
}

var (
	keyArg   = param{name: "KEY", complete: func(*Server, []string) []string { return settingKeys() }}
	valueArg = param{name: "VALUE", complete: func(_ *Server, args []string) (all []string) {
		k, err := findSetting(args[1])
		if err != nil || k.set != nil {
			all = append(all, unset)
		}
		if err == nil && strings.HasPrefix(k.values, "on") {
			all = append(all, "on", "off")
		}
		return all
	}}
)

// roomSetting is a setting that one room may have of its own.
type roomSetting struct {
	key    string
	config string // the key of the configuration that the setting replaces; empty: none
	values string // the values that it takes, in words
	does   string

	// get and set are nil for the password, which is not in store.Settings.
	get func(store.Settings) (value string, own bool)
	set func(o *store.Settings, word string) error // the word "default" removes the setting
}

var roomSettings = []roomSetting{
	number("members", "limits.members", value.Members, "members at the same time",
		func(o *store.Settings) **int { return &o.Members }),
	number("replay", "rooms.replay", value.Replay, "lines shown to a new member",
		func(o *store.Settings) **int { return &o.Replay }),
	number("lines", "history.lines", value.Lines, "lines of history",
		func(o *store.Settings) **uint64 { return &o.Lines }),
	optional("age", "history.age", "a time like 30d, or 0s for no limit", "older lines are removed",
		func(o *store.Settings) **time.Duration { return &o.Age },
		func(word string) (time.Duration, error) { return value.ParseTime(word, value.Age) }, time.Duration.String),
	{"read-only", "", "on or off", "only the console can speak",
		func(o store.Settings) (string, bool) { return onOff(o.ReadOnly), o.ReadOnly },
		func(o *store.Settings, word string) (err error) {
			o.ReadOnly = false
			if word != unset {
				o.ReadOnly, err = parseBool(word)
			}
			return err
		}},
	optional("quiet", "rooms.quiet_above", "on, off, or a number of members", "hide joins and leaves (above it)",
		func(o *store.Settings) **int { return &o.Quiet }, parseQuiet, showQuiet),
	{key: "password", values: "asked for; --remove removes it", does: "needed to join"},
}

// unset is the word that removes a setting.
const unset = "default"

// number is a setting that takes a whole number in a range.
func number[T int | uint64](key, config string, in value.Numbers, does string, at func(*store.Settings) **T) roomSetting {
	return optional(key, config, in.String(), does, at, func(word string) (T, error) {
		n, err := value.ParseNumber(word, in)
		return T(n), err
	}, func(n T) string { return fmt.Sprint(n) })
}

// optional is a setting that is nil if the room does not have it.
func optional[T any](key, config, values, does string, at func(*store.Settings) **T, parse func(word string) (T, error), show func(T) string) roomSetting {
	return roomSetting{key, config, values, does,
		func(o store.Settings) (string, bool) {
			if own := *at(&o); own != nil {
				return show(*own), true
			}
			return "", false
		},
		func(o *store.Settings, word string) error {
			if *at(o) = nil; word == unset {
				return nil
			}
			v, err := parse(word)
			if err != nil {
				return refuse("usage", "%v", err)
			}
			*at(o) = &v
			return nil
		}}
}

const neverQuiet = 1 << 30 // more members than any room has

func parseQuiet(word string) (members int, err error) {
	if on, err := parseBool(word); err == nil && on {
		return 0, nil
	} else if err == nil {
		return neverQuiet, nil
	}
	n, err := value.ParseNumber(word, value.QuietAbove)
	if err != nil {
		return 0, fmt.Errorf("%q is neither on, off nor a number of members", word)
	}
	return int(n), nil
}

func showQuiet(members int) string {
	if members == 0 || members == neverQuiet {
		return onOff(members == 0)
	}
	return fmt.Sprint(members)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func parseBool(word string) (on bool, err error) {
	switch strings.ToLower(word) {
	case "on", "yes", "true":
		return true, nil
	case "off", "no", "false":
		return false, nil
	}
	return false, refuse("usage", "%q is neither on nor off", word)
}

func settingKeys() []string {
	return mapSlice(roomSettings, func(s roomSetting) string { return s.key })
}

// findSetting finds a setting by its key, which may be abbreviated.
func findSetting(word string) (*roomSetting, error) {
	keys := settingKeys()
	found := matchPrefix(word, keys)
	if len(found) != 1 {
		return nil, refuse("usage", "there is no setting %q%s; the settings are %s", word, didYouMean(word, keys), strings.Join(keys, ", "))
	}
	return &roomSettings[slices.Index(keys, found[0])], nil
}

// set shows the settings of a room, or changes one.
func set(c *call) error {
	r := c.target
	own, err := c.Service.Settings(r.Name)
	if err != nil {
		return err
	}
	var s *roomSetting
	if len(c.args) > 1 {
		if s, err = findSetting(c.args[1]); err != nil {
			return err
		}
		c.args[1] = s.key
	}
	remove := c.has("remove")
	switch {
	case s != nil && s.key == "password":
		return c.setPassword(r, own, remove)
	case remove:
		return refuse("usage", "--remove is only for the password; the value default removes another setting")
	}
	if c.skipAudit = len(c.args) < 3; !c.skipAudit {
		word := c.args[2]
		if err := s.set(&store.Settings{}, word); err != nil {
			return err
		}
		change := func(o *store.Settings) { _ = s.set(o, word) } // the same call succeeded above
		if err := c.confirmSet(r, s, own, change); err != nil {
			return err
		}
		if own, err = c.Service.Set(r.Name, change); err != nil {
			return err
		}
	}
	return c.showSettings(r, own)
}

// hasPassword reports whether a line contains a password. Such a line is refused, and the
// console does not store it.
func hasPassword(cmd *command, args []string) bool {
	if cmd.name != setCommand.name || len(args) < 3 {
		return false
	}
	s, err := findSetting(args[1])
	return err == nil && s.key == "password"
}

// setPassword sets the password of a room to the one that the client was asked for, or removes
// it.
func (c *call) setPassword(r netsvc.RoomDetail, own store.Settings, remove bool) error {
	does := "gets another password"
	switch {
	case len(c.args) > 2:
		c.line = Join([]string{"set", r.Name, "password", "…"}) // so that the audit does not have it
		return refuse("usage", "a password must not be in the command, which others can see: set %s password asks for it, or reads it from standard input; --remove removes it", r.Name)
	case remove && !r.Locked:
		c.skipAudit = true
		return refuse("refused", "%s has no password", r.Name)
	case remove:
		does, c.secret, c.auditResult = "loses its password", "", "the password was removed"
	case !r.Locked:
		does = "gets a password"
	}
	if err := c.dryRun("%s %s; its members stay", r.Name, does); err != nil {
		return err
	}
	if !remove && c.secret == "" {
		c.skipAudit = true
		return &verdict{"SECRET", "-", "the new password of " + r.Name}
	}
	if !remove {
		c.auditResult = "the password was changed"
	}
	if err := c.Service.SetPassword(r.Name, c.secret); err != nil {
		c.auditResult = ""
		return err
	}
	r.Locked = !remove
	return c.showSettings(r, own)
}

// confirmSet asks before a setting that removes lines for good.
func (c *call) confirmSet(r netsvc.RoomDetail, s *roomSetting, own store.Settings, change func(*store.Settings)) error {
	after := own
	change(&after)
	most := r.Lines
	if v := c.inEffect(s, after); s.key == "lines" && v != "0" {
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			most = n
		}
	}
	age, _ := time.ParseDuration(c.inEffect(s, after))
	switch {
	case most < r.Lines:
		return c.confirm(fmt.Sprintf("removes %s of the %s of %s for good", count(r.Lines-most, "line"), count(r.Lines, "line"), r.Name), r.ID, r.Newest)
	case s.key == "age" && age > 0 && r.Lines > 0:
		return c.confirm(fmt.Sprintf("removes the lines of %s that are older than %s for good; the room has %s", r.Name, durationInWords(age), count(r.Lines, "line")), r.ID, r.Newest)
	}
	return c.dryRun("%s of %s would be %s", s.key, r.Name, c.inEffect(s, after))
}

// inEffect returns the value that a room with these settings has.
func (c *call) inEffect(s *roomSetting, own store.Settings) string {
	v, isOwn := s.get(own)
	if isOwn || s.config == "" {
		return v
	}
	return c.configured(s.config)
}

// configured returns the value of a key of the configuration in effect, or "".
func (c *call) configured(key string) string {
	for _, s := range c.Config() {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func (c *call) showSettings(r netsvc.RoomDetail, own store.Settings) error {
	type row struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Own    bool   `json:"own"` // the room has the setting itself
		Values string `json:"values"`
		Does   string `json:"does"`
	}
	only := ""
	if len(c.args) > 1 {
		only = c.args[1]
	}
	var rows []row
	for i := range roomSettings {
		s := &roomSettings[i]
		if only != "" && s.key != only {
			continue
		}
		if s.get == nil {
			rows = append(rows, row{s.key, onOff(r.Locked), r.Locked, s.values, s.does})
			continue
		}
		_, isOwn := s.get(own)
		rows = append(rows, row{s.key, c.inEffect(s, own), isOwn, s.values, s.does})
	}
	return c.out.list(rows)
}
