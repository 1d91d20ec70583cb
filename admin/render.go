package admin

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"roomd/admin/term"
	"roomd/netsvc"
)

// output writes the answer of a command: for people, or as JSON.
type output struct {
	w        *bufio.Writer
	json     bool
	color    bool // use colours
	stream   bool
	yielded  int      // values so far
	conn     net.Conn // for deadlines of large answers; nil: none
	relative bool     // show times as "5m ago"
}

// renderLines passes the output of do to show, line by line, as our client would.
func renderLines(asJSON bool, show func(line string), do func(*output) error) error {
	var text bytes.Buffer
	out := &output{w: bufio.NewWriter(&text), json: asJSON}
	err := errors.Join(do(out), out.w.Flush())
	for l := range strings.Lines(text.String()) {
		show(strings.TrimSuffix(l[1:], "\n")) // each line begins with a space
	}
	return err
}

// line writes one line of the answer. Control characters in s are replaced, so that they reach
// no terminal and end no line.
func (o *output) line(s string) error { return o.styledLine(netsvc.Printable(s)) }

// styledLine writes a line of printable text, which may have colours.
func (o *output) styledLine(s string) error {
	o.w.WriteByte(' ')
	o.w.WriteString(s)
	return o.w.WriteByte('\n')
}

// Colours, as SGR parameters (ECMA-48).
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// colorize adds a colour to printable text, if colours are on.
func (o *output) colorize(color, text string) string {
	if !o.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// colorOf returns the colour of a cell; "": none.
func colorOf(column, cell string) string {
	switch column + "=" + cell {
	case "state=unbound", "state=closing", "level=problem", "result=refused":
		return red
	case "level=risk", "state=opening", "kind=ban", "kind=mute", "muted=yes", "read_only=yes", "changed=yes", "own=yes":
		return yellow
	case "level=ok", "state=open":
		return green
	}
	if (column == "lagging" || column == "behind") && cell != "0" {
		return yellow
	}
	if column == "deletion" && cell != "-" || column == "stop" {
		return red
	}
	return ""
}

func (o *output) object(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return o.line(strings.TrimSuffix(b.String(), "\n"))
}

// text writes a sentence, in JSON an object with it.
func (o *output) text(format string, args ...any) error {
	o.yielded++
	s := fmt.Sprintf(format, args...)
	if o.json {
		return o.object(map[string]string{"text": s})
	}
	return o.line(s)
}

// end ends an answer. In JSON an answer without values is an empty object.
func (o *output) end() error {
	if o.json && o.yielded == 0 && !o.stream {
		return o.object(struct{}{})
	}
	return nil
}

// value writes a struct: for people one field on each line.
func (o *output) value(v any) error {
	o.yielded++
	if o.json {
		return o.object(v)
	}
	value := reflect.ValueOf(v)
	columns := columnsOf(value.Type(), func(f reflect.StructField) bool { return !empty(value.FieldByIndex(f.Index)) })
	rows := mapSlice(columns, func(c column) []string {
		text := o.cell(c.name, value.FieldByIndex(c.index).Interface())
		return []string{o.colorize(faint, c.title), o.colorize(colorOf(c.name, text), text)}
	})
	return o.rows(rows)
}

// list writes a slice of structs: for people a table.
func (o *output) list(slice any) error {
	o.yielded++
	v := reflect.ValueOf(slice)
	if o.json {
		if v.Len() == 0 {
			return o.object([]int{})
		}
		return o.object(slice)
	}
	if v.Len() == 0 {
		return o.line("none")
	}
	columns := columnsOf(v.Type().Elem(), func(f reflect.StructField) bool {
		for i := range v.Len() {
			if !empty(v.Index(i).FieldByIndex(f.Index)) {
				return true
			}
		}
		return false
	})
	rows := [][]string{mapSlice(columns, func(c column) string { return o.colorize(bold, strings.ToUpper(c.title)) })}
	for i := range v.Len() {
		rows = append(rows, mapSlice(columns, func(c column) string {
			text := o.cell(c.name, v.Index(i).FieldByIndex(c.index).Interface())
			return o.colorize(colorOf(c.name, text), text)
		}))
	}
	return o.rows(rows)
}

// rows writes the rows of a table, whose cells may have colours. All cells are aligned to the
// left.
func (o *output) rows(rows [][]string) error {
	for _, l := range term.Columns(rows...) {
		if err := o.styledLine(strings.TrimRight(l, " ")); err != nil {
			return err
		}
	}
	return nil
}

// column is a field of a struct as tables show it.
type column struct {
	name, title string
	index       []int
}

// empty reports whether a value is zero or an empty slice.
func empty(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }

// columnsOf returns the fields that people are shown, with their JSON names. Fields tagged
// "maybe" or with omitempty are omitted unless says returns true.
func columnsOf(t reflect.Type, says func(reflect.StructField) bool) []column {
	var all []column
	for _, f := range reflect.VisibleFields(t) {
		name := fieldName(f)
		maybe := f.Tag.Get("table") == "maybe" || strings.Contains(f.Tag.Get("json"), ",omit")
		if name == "" || f.Tag.Get("table") == "-" || maybe && !says(f) {
			continue
		}
		all = append(all, column{name, strings.ReplaceAll(name, "_", " "), f.Index})
	}
	return all
}

// fieldName returns the name of a field in JSON; empty: the field is not shown.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if f.Anonymous || !f.IsExported() || name == "-" {
		return ""
	}
	return name
}

// event writes one value of a stream: an object on one line, or for people text, which is
// printable and may have colours. flush is false while more values are pending.
func (o *output) event(v any, text string, flush bool) error {
	o.yielded++
	var err error
	if o.json {
		err = o.object(v)
	} else {
		err = o.styledLine(text)
	}
	if err == nil && flush {
		err = o.w.Flush()
	}
	return err
}

// maxCell is the length of a text in a table; JSON has all of it.
const maxCell = 80

// cell formats a value for a table.
func (o *output) cell(name string, v any) string {
	if t, ok := v.(time.Time); ok {
		if o.relative || t.IsZero() {
			return ago(t)
		}
		return t.Local().Format(timeFormat)
	}
	return cellText(name, v)
}

// timeFormat formats times for people. It has the zone, because operators compare times with
// those of other machines.
const timeFormat = "2006-01-02 15:04:05 -0700"

func cellText(name string, v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case float64:
		return fmt.Sprintf("%.1f", v)
	case string:
		if v == "" {
			return "-"
		}
		v = netsvc.Printable(v)
		if r := []rune(v); (name == "topic" || name == "line" || name == "result") && len(r) > maxCell {
			v = string(r[:maxCell-1]) + "…"
		}
		return v
	}
	switch n := reflect.ValueOf(v); {
	case strings.HasSuffix(name, "bytes"):
		return byteSize(n.Convert(reflect.TypeFor[float64]()).Float())
	case n.Kind() == reflect.Slice:
		texts := make([]string, n.Len())
		for i := range texts {
			texts[i] = netsvc.Printable(fmt.Sprint(n.Index(i).Interface()))
		}
		return cmp.Or(strings.Join(texts, ", "), "-")
	case name == "uid" && n.Int() < 0:
		return "-"
	case name == "id":
		return fmt.Sprintf("#%d", v)
	case strings.HasSuffix(name, "port") || name == "first" || name == "last" || name == "uid" || name == "pid":
	case n.CanUint():
		return thousands(n.Uint())
	case n.CanInt() && n.Int() >= 0:
		return thousands(uint64(n.Int()))
	}
	return netsvc.Printable(fmt.Sprint(v))
}

// ago formats a time as how long ago it was.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + shortDuration(-d)
	}
	return shortDuration(d) + " ago"
}

func shortDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// byteSize formats a number of bytes: "1.2 MB".
func byteSize(n float64) string {
	if n < 1000 {
		return fmt.Sprintf("%.0f B", n)
	}
	unit := 0
	for n /= 1000; n >= 1000 && unit < 3; n /= 1000 {
		unit++
	}
	return fmt.Sprintf("%.1f %cB", n, "KMGT"[unit])
}
