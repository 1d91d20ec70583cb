package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"roomd/netsvc"
)

// output renders what a command yields: for people, or as JSON.
type output struct {
	w      *bufio.Writer
	json   bool
	stream bool
	values int // yielded so far
}

// line writes one line of the answer. It holds nothing that could end the line
// or reach a terminal as more than text.
func (o *output) line(s string) error {
	o.w.WriteByte(' ')
	o.w.WriteString(netsvc.Printable(s))
	return o.w.WriteByte('\n')
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

// text yields a sentence; as JSON an object with it.
func (o *output) text(format string, args ...any) error {
	o.values++
	s := fmt.Sprintf(format, args...)
	if o.json {
		return o.object(map[string]string{"text": s})
	}
	return o.line(s)
}

// end closes an answer that yielded nothing: as JSON it is still an answer.
func (o *output) end() error {
	if o.json && o.values == 0 && !o.stream {
		return o.object(struct{}{})
	}
	return nil
}

// one yields a struct: its fields one below the other, or an object.
func (o *output) one(v any) error {
	o.values++
	if o.json {
		return o.object(v)
	}
	names, cells := fields(reflect.ValueOf(v))
	width := 0
	for _, n := range names {
		width = max(width, len(n))
	}
	for i, n := range names {
		if err := o.line(fmt.Sprintf("%-*s  %s", width, n, cells[i])); err != nil {
			return err
		}
	}
	return nil
}

// list yields a slice of structs: an aligned table, or one array.
func (o *output) list(slice any) error {
	o.values++
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
	var rows [][]string
	for i := range v.Len() {
		names, cells := fields(v.Index(i))
		if i == 0 {
			for j := range names {
				names[j] = strings.ToUpper(names[j])
			}
			rows = append(rows, names)
		}
		rows = append(rows, cells)
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for j, c := range row {
			widths[j] = max(widths[j], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for j, c := range row {
			b.WriteString(c)
			if j < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(c)+2))
			}
		}
		if err := o.line(strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// each yields one value of a stream: an object a line, or what text says.
func (o *output) each(v any, text string) error {
	o.values++
	var err error
	if o.json {
		err = o.object(v)
	} else {
		err = o.line(text)
	}
	if err == nil {
		err = o.w.Flush()
	}
	return err
}

// fields are the names, as in JSON, and the values of a struct for people.
func fields(v reflect.Value) (names, cells []string) {
	t := v.Type()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		names = append(names, strings.ReplaceAll(name, "_", " "))
		cells = append(cells, cell(name, v.Field(i).Interface()))
	}
	return names, cells
}

func cell(name string, v any) string {
	switch v := v.(type) {
	case time.Time:
		return ago(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case float64:
		return fmt.Sprintf("%.1f", v)
	case []int:
		return strings.Trim(fmt.Sprint(v), "[]")
	case string:
		if v == "" {
			return "-"
		}
		return netsvc.Printable(v)
	}
	if strings.HasSuffix(name, "bytes") {
		return size(reflect.ValueOf(v))
	}
	return fmt.Sprint(v)
}

// ago is a time as people say it.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
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

// size is a number of bytes as people say it.
func size(v reflect.Value) string {
	var n float64
	if v.CanUint() {
		n = float64(v.Uint())
	} else {
		n = float64(v.Int())
	}
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if n < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%.0f B", n)
			}
			return fmt.Sprintf("%.1f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}
