package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// An export imports to the same rooms and lines, also when it is cut off and
// done again; and what is imported exports to the same bytes.
func TestExportImport(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	const rooms, each = 3, 12000
	most := uint64(77)
	for i := range rooms {
		r, err := s.Create(Room{Name: fmt.Sprint("Room", i), Key: fmt.Sprint("room", i), Port: 9000 + i, KeyHash: []byte{1, byte(i)}, Settings: Settings{Lines: &most}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Update(r.ID, Edit{Settings: new(Settings), Topic: new("be <kind> & \u2028")}); err != nil {
			t.Fatal(err)
		}
		for n := range each * (i % 2) {
			p := &Post{Room: r.ID, Line: Line{Kind: []Kind{Message, Action, Notice}[n%3], From: "zoë", Text: fmt.Sprint("line <", n, "> \u2028\t\"")}}
			if err := s.Submit(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.say(1, "with room 0")
	var whole bytes.Buffer
	if err := s.Export(&whole, func(Room) bool { return true }, 0, nil); err != nil {
		t.Fatal(err)
	}
	to := open(t, dbPath(t), Options{})
	at := bytes.IndexByte(whole.Bytes()[whole.Len()-100000:], '\n') - 1 // within a line
	half := io.LimitReader(bytes.NewReader(whole.Bytes()), int64(whole.Len()-100000+at))
	made, lines, err := to.Import(half, asIs, nil, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half of it: %v", err)
	}
	to.reopen()
	made2, lines2, err := to.Import(bytes.NewReader(whole.Bytes()), asIs, nil, nil)
	if err != nil || made+made2 != rooms || lines+lines2 != each+1 || lines == 0 {
		t.Errorf("%d and %d rooms, %d and %d lines, %v", made, made2, lines, lines2, err)
	}
	to.reopen()
	var again bytes.Buffer
	if err := to.Export(&again, func(Room) bool { return true }, 0, nil); err != nil || !bytes.Equal(whole.Bytes(), again.Bytes()) {
		t.Errorf("%d bytes became %d, %v", whole.Len(), again.Len(), err)
	}
	for room := uint64(1); room <= rooms; room++ {
		if !slices.Equal(s.all(room), to.all(room)) {
			t.Errorf("room %d differs", room)
		}
	}
	var one bytes.Buffer
	if err := s.Export(&one, func(r Room) bool { return r.Key == "room1" }, each-2, nil); err != nil || strings.Count(one.String(), "\n") != 3 {
		t.Errorf("%s %v", one.String(), err)
	}
	for _, bad := range []string{`{"seq":1}`, `{"seq":1,"kind":"message","text":"no room"}`, `nonsense`, `{"room":{"name":"x","key":"x","port":9000}}`} {
		if _, _, err := to.Import(strings.NewReader(bad), asIs, nil, nil); err == nil {
			t.Errorf("%s was imported", bad)
		}
	}
}

// An export that was cut off between two lines looks whole; done again, it is.
func TestImportCutBetweenLines(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("lobby", 9000)
	for i := range 10 {
		s.say(room, fmt.Sprint(i))
	}
	var whole bytes.Buffer
	if err := s.Export(&whole, func(Room) bool { return true }, 0, nil); err != nil {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(whole.String(), "\n")
	to := open(t, dbPath(t), Options{})
	for i, part := range []string{strings.Join(rows[:5], ""), whole.String(), whole.String()} {
		_, lines, err := to.Import(strings.NewReader(part), asIs, nil, nil)
		if want := []uint64{4, 6, 0}[i]; err != nil || lines != want {
			t.Errorf("%d lines instead of %d, %v", lines, want, err)
		}
		to.reopen()
	}
	if have := to.all(room); !slices.Equal(have, s.all(room)) {
		t.Errorf("there are %+v", have)
	}
	if p := to.say(room, "more"); p.Line.Seq != 11 {
		t.Errorf("its number is %d", p.Line.Seq)
	}
}

// asIs is how the names of these tests are compared.
func asIs(name string) (string, error) { return strings.ToLower(name), nil }
