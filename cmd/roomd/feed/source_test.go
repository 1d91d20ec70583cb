package feed

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fed are the lines of an input as they would be sent.
func fed(t *testing.T, in, long string, limit int) (all []entry) {
	t.Helper()
	if err := newSource(strings.NewReader(in), long, func() int { return limit }).each(func(e entry) bool {
		all = append(all, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFeed(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		in, long string
		limit    int
		want     string // number:text, of a line that is not sent its size
	}{
		{"", "skip", 64, ""},
		{"\n", "skip", 64, "1:"},
		{"a\r\nb\n\nc", "skip", 64, "1:a 2:b 3: 4:c"},
		{bom + "a\n" + bom + "b\n", "skip", 64, "1:a 2:" + bom + "b"},
		{x(64) + "\n" + x(64) + "\r\n" + x(65) + "\nb", "skip", 64, "1:" + x(64) + " 2:" + x(64) + " 3=65 4:b"},
		{"/" + x(62) + "\n/" + x(63), "skip", 64, "1:/" + x(62) + " 2=64"},
		{x(65) + "\nb", "cut", 64, "1:" + x(64) + "~ 2:b"},
		{"/" + x(70), "cut", 64, "1:/" + x(62) + "~"},
		{x(150) + "\nb", "split", 64, "1:" + x(64) + " 1:" + x(64) + " 1:" + x(22) + " 2:b"},
		{x(63) + "/" + x(70) + "\n", "split", 64, "1:" + x(63) + "/ 1:" + x(64) + " 1:" + x(6)},
		{x(64) + "/" + x(70) + "\n", "split", 64, "1:" + x(64) + " 1:/" + x(62) + " 1:" + x(8)},
		{x(63) + "äb", "split", 64, "1:" + x(63) + " 1:äb"},
		{x(63) + "e\u0301b", "split", 64, "1:" + x(63) + " 1:e\u0301b"},
		{x(60) + "👩\u200d👩\u200d👧b", "split", 64, "1:" + x(60) + " 1:👩\u200d👩\u200d👧b"},
		{x(62) + "\xff\xfe\xfd\xfc", "split", 64, "1:" + x(62) + "\xff\xfe 1:\xfd\xfc"},
		{x(5000), "skip", 0, "1:" + x(5000)},
		{x(maxLineBytes + 1), "skip", 0, fmt.Sprintf("1=%d", maxLineBytes+1)},
	} {
		var got []string
		for _, e := range fed(t, c.in, c.long, c.limit) {
			switch {
			case e.err != nil:
				got = append(got, fmt.Sprintf("%d=%d", e.number, e.err.(lineTooLong).bytes))
			case e.truncated:
				got = append(got, fmt.Sprintf("%d:%s~", e.number, e.text))
			default:
				got = append(got, fmt.Sprintf("%d:%s", e.number, e.text))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%.20q %s:\n%q, want\n%q", c.in, c.long, got, c.want)
		}
	}
}

// A line is handed on before anything comes behind it, however short it is.
func TestFeedDoesNotWait(t *testing.T) {
	in, out := io.Pipe()
	go io.WriteString(out, "a\n")
	got := make(chan string)
	go newSource(in, "skip", func() int { return 64 }).each(func(e entry) bool {
		got <- e.text
		return false
	})
	select {
	case text := <-got:
		if text != "a" {
			t.Errorf("got %q", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing came")
	}
}

// A line of many megabytes takes no more memory than its parts, and is whole
// where it is split.
func TestFeedOfAnEndlessLine(t *testing.T) {
	const size = 5 << 20
	text := strings.Repeat("é€", size/5)
	var whole strings.Builder
	for _, e := range fed(t, text+"\nlast\n", "split", 4096) {
		if len(e.text) > 4096 || !utf8.ValidString(e.text) {
			t.Fatalf("%d bytes, or within a character", len(e.text))
		}
		if e.number == 1 {
			whole.WriteString(e.text)
		} else if e.number != 2 || e.text != "last" || e.offset != int64(len(text)+6) {
			t.Fatal(e)
		}
	}
	if whole.String() != text {
		t.Fatal("the parts are not the line")
	}
	for _, long := range []string{"skip", "cut", "fail"} {
		all := fed(t, text+"\nlast\n", long, 4096)
		if len(all) != 2 || (all[0].err == nil) != (long == "cut") || len(all[0].text) > 4096 || all[1].text != "last" {
			t.Error(long, len(all))
		}
		if long != "cut" && all[0].err.(lineTooLong).bytes != len(text) {
			t.Error(all[0].err)
		}
	}
	if err := newSource(io.MultiReader(strings.NewReader("a\nb"), broken{}), "skip", func() int { return 64 }).each(func(entry) bool { return true }); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}

// broken is an input that cannot be read.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		numbers []int
		want    string
		count   int
	}{
		{[]int{3}, "line 3", 1},
		{[]int{3, 3}, "line 3", 1}, // two parts of it
		{[]int{3, 4}, "lines 3-4", 2},
		{[]int{3, 7, 8, 9, 12}, "lines 3, 7-9 and 12", 5},
	} {
		var s lineRanges
		for _, n := range c.numbers {
			s.add(n)
		}
		if s.String() != c.want || s.count() != c.count {
			t.Error(c.numbers, s, s.count())
		}
	}
	var many lineRanges
	for i := range 1000 {
		many.add(2 * i)
	}
	if text := many.String(); !strings.HasSuffix(text, " and 980 more") || many.count() != 1000 {
		t.Error(text)
	}
}

// What many lines fail of is a few sentences.
func TestReasons(t *testing.T) {
	var r unsentLines
	for i := range 1000 {
		r.add(i, fmt.Sprint("reason ", i))
	}
	if len(r) > 101 {
		t.Error(len(r))
	}
}
