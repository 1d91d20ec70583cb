package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/netsvc"
	"roomd/store"
)

var setCommand = command{
	name: "set", args: []param{roomArg, keyArg.maybe(), valueArg.maybe()}, short: "show or set what holds for one room instead of for all; default takes it back",
	example: "set dev lines 1000", changes: true, flags: []flag{yesFlag, tokenFlag, {name: "remove", short: "take the password away"}}, run: set,
}

var (
	keyArg   = param{name: "KEY", words: func(*Server, []string) []string { return settingKeys() }}
	valueArg = param{name: "VALUE", words: func(_ *Server, args []string) (all []string) {
		k, err := findSetting(args[1])
		if err != nil || k.set != nil {
			all = append(all, "default")
		}
		if err == nil && strings.HasPrefix(k.values, "on") {
			all = append(all, "on", "off")
		}
		return all
	}}
)

// roomSetting is something that a room may have of its own.
type roomSetting struct {
	key    string
	config string // the key of the configuration that holds otherwise
	values string // what may be written; MOST stands for the upper bound
	does   string
	// get and what follows are nil for the password, which is no store.Settings.
	get func(store.Settings) (value string, own bool)
	// set takes a value that is not "default", and says what would be right. A number has
	// the bounds of the key of the configuration.
	set   func(o *store.Settings, v string, least, most int64) error
	unset func(*store.Settings)
}

var roomSettings = []roomSetting{
	{"members", "limits.members", "1 to MOST, 0 for no limit", "members at most",
		func(s store.Settings) (string, bool) { return shownInt(s.Members) },
		func(s *store.Settings, v string, least, most int64) error { return setInt(&s.Members, v, least, most) },
		func(s *store.Settings) { s.Members = nil }},
	{"replay", "rooms.replay", "0 to MOST", "earlier lines that a new member is shown",
		func(s store.Settings) (string, bool) { return shownInt(s.Replay) },
		func(s *store.Settings, v string, least, most int64) error { return setInt(&s.Replay, v, least, most) },
		func(s *store.Settings) { s.Replay = nil }},
	{"lines", "history.lines", "1 or more, 0 for no limit", "lines kept; the oldest go first",
		func(s store.Settings) (string, bool) { return shownInt(s.Lines) },
		func(s *store.Settings, v string, _, most int64) error {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil || n > uint64(most) {
				return refuse("usage", "%q is not a number of lines: 1 or more, or 0 for no limit", v)
			}
			s.Lines = &n
			return nil
		},
		func(s *store.Settings) { s.Lines = nil }},
	{"age", "history.age", "a time like 30d, 0s for any", "lines older than this go",
		func(s store.Settings) (string, bool) { return shownInt(s.Age) },
		func(s *store.Settings, v string, _, _ int64) error {
			d, err := english.ParseDuration(v)
			if err != nil || d < 0 {
				return refuse("usage", "%q is not a time: one like 30d, or 0s for any age", v)
			}
			s.Age = &d
			return nil
		},
		func(s *store.Settings) { s.Age = nil }},
	{"read-only", "", "on or off", "nobody on the network may say anything",
		func(s store.Settings) (string, bool) { return onOff(s.ReadOnly), s.ReadOnly },
		func(s *store.Settings, v string, _, _ int64) error { return setBool(&s.ReadOnly, v) },
		func(s *store.Settings) { s.ReadOnly = false }},
	{"quiet", "rooms.quiet_above", "on, off, or a number of members", "in a room with more members nobody is told of joins and leaves",
		func(s store.Settings) (string, bool) {
			if s.Quiet != nil && (*s.Quiet == 0 || *s.Quiet == neverQuiet) {
				return onOff(*s.Quiet == 0), true
			}
			return shownInt(s.Quiet)
		},
		func(s *store.Settings, v string, _, _ int64) error {
			on := false
			if setBool(&on, v) == nil {
				s.Quiet = new(neverQuiet)
				if on {
					s.Quiet = new(0)
				}
				return nil
			}
			if setInt(&s.Quiet, v, 0, neverQuiet) != nil {
				return refuse("usage", "%q is neither on, off nor a number of members", v)
			}
			return nil
		},
		func(s *store.Settings) { s.Quiet = nil }},
	{key: "password", values: "asked for, and never in the line; --remove takes it away", does: "who joins has to give it"},
}

const neverQuiet = 1 << 30 // members; no room has so many

func shownInt[T int | uint64 | time.Duration](n *T) (string, bool) {
	if n == nil {
		return "", false
	}
	return fmt.Sprint(*n), true
}

func setInt(to **int, v string, least, most int64) error {
	n, err := strconv.Atoi(v)
	if err != nil || int64(n) < least || int64(n) > most {
		return refuse("usage", "%q is not a number from %d to %d", v, least, most)
	}
	*to = &n
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func setBool(to *bool, v string) error {
	switch strings.ToLower(v) {
	case "on", "yes", "true":
		*to = true
	case "off", "no", "false":
		*to = false
	default:
		return refuse("usage", "%q is neither on nor off", v)
	}
	return nil
}

func settingKeys() []string { return each(roomSettings, func(s roomSetting) string { return s.key }) }

// findSetting finds a setting by its key, which may be abbreviated.
func findSetting(word string) (*roomSetting, error) {
	keys := settingKeys()
	found := meant(word, keys)
	if len(found) != 1 {
		return nil, refuse("usage", "%q is no setting of a room%s; there are %s", word, suggestion(word, keys), strings.Join(keys, ", "))
	}
	return &roomSettings[slices.Index(keys, found[0])], nil
}

// set shows a room's settings, or changes one.
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
		return refuse("usage", "--remove is for the password; default takes a setting back")
	}
	if c.looked = len(c.args) < 3; !c.looked {
		change := s.unset
		if v := c.args[2]; v != "default" {
			least, most := c.bounds(s)
			if err := s.set(&store.Settings{}, v, least, most); err != nil {
				return err
			}
			change = func(o *store.Settings) { _ = s.set(o, v, least, most) } // it has just been tried
		}
		if err := c.confirmSet(r, s, own, change); err != nil {
			return err
		}
		if own, err = c.Service.Set(r.Name, change); err != nil {
			return err
		}
	}
	return c.showSettings(r, own)
}

// tellsPassword reports whether a password stands in a line, where it must not: that
// is refused, and the line is not kept.
func tellsPassword(cmd *command, args []string) bool {
	if cmd.name != setCommand.name || len(args) < 3 {
		return false
	}
	s, err := findSetting(args[1])
	return err == nil && s.key == "password"
}

// setPassword gives a room the password that the client has asked for, or takes
// its password away.
func (c *call) setPassword(r netsvc.RoomDetail, own store.Settings, remove bool) error {
	does := "gets another password"
	switch {
	case len(c.args) > 2:
		c.line = Join([]string{"set", r.Name, "password", "…"}) // the audit does not keep it
		return refuse("usage", "a password does not stand in the line, which others can see and the audit keeps: set %s password asks for it, or reads it from standard input; --remove takes it away", r.Name)
	case remove && !r.Locked:
		c.looked = true
		return refuse("refused", "%s has no password", r.Name)
	case remove:
		does, c.secret, c.did = "loses its password", "", "the password was removed"
	case !r.Locked:
		does = "gets a password"
	}
	if err := c.would("%s %s; those inside stay", r.Name, does); err != nil {
		return err
	}
	if !remove && c.secret == "" {
		c.looked = true
		return &wanted{"the new password of " + r.Name}
	}
	if !remove {
		c.did = "the password was changed"
	}
	if err := c.Service.SetPassword(r.Name, c.secret); err != nil {
		c.did = ""
		return err
	}
	r.Locked = !remove
	return c.showSettings(r, own)
}

// confirmSet asks if a setting removes lines for good.
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
		return c.confirm(fmt.Sprintf("removes the lines of %s that are older than %s for good; it has %s", r.Name, words(age), count(r.Lines, "line")), r.ID, r.Newest)
	}
	return c.would("%s of %s would be %s", s.key, r.Name, c.inEffect(s, after))
}

// bounds are those of a number; of anything else they are 0.
func (c *call) bounds(s *roomSetting) (least, most int64) {
	if s.config == "" {
		return 0, 0
	}
	return c.Bounds(s.config)
}

// inEffect is what holds for a room with these settings.
func (c *call) inEffect(s *roomSetting, own store.Settings) string {
	v, isOwn := s.get(own)
	if isOwn || s.config == "" {
		return v
	}
	for _, conf := range c.Config() {
		if conf.Key == s.config {
			return conf.Value
		}
	}
	return v
}

func (c *call) showSettings(r netsvc.RoomDetail, own store.Settings) error {
	type row struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Own    bool   `json:"own"` // and not as the configuration says for all
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
		_, most := c.bounds(s)
		rows = append(rows, row{s.key, c.inEffect(s, own), isOwn, strings.ReplaceAll(s.values, "MOST", fmt.Sprint(most)), s.does})
	}
	return c.out.list(rows)
}
