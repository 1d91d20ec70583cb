package admin

import "testing"

func TestPaste(t *testing.T) {
	typed := "a" + pasteBegin + "one\tline\x03\r" + pasteEnd + "b \x1b[A" + pasteBegin + "x\r\ny\tz\n" + pasteEnd +
		pasteBegin + "p\rq" + pasteEnd + "\r"
	want := "aone" + string(pastedTab) + "lineb \x1b[A[2 lines pasted][2 lines pasted, 2]\r"
	// However the bytes come.
	for n := 1; n <= len(typed); n++ {
		var p paste
		got := ""
		for i := 0; i < len(typed); i += n {
			got += string(p.filter([]byte(typed[i:min(i+n, len(typed))])))
		}
		if got != want {
			t.Fatalf("by %d: %q", n, got)
		}
		if line := p.expand("see [2 lines pasted, 2], a" + string(pastedTab) + "[2 lines pasted]"); line != "see p\nq, a\tx\ny\tz" {
			t.Fatalf("%q", line)
		}
		if line := p.expand("[2 lines pasted]"); line != "[2 lines pasted]" {
			t.Fatal("it is remembered for the next line")
		}
	}
}

// What completion adds makes the word of what was typed, however that is written.
func TestEnding(t *testing.T) {
	for _, c := range []struct{ word, typed, want string }{
		{"lobby", "lo", "bby"}, {"lobby", "LO", "bby"}, {"Café-ops", "cafe\u0301-", "ops"}, {"Café-ops", "ｃａｆé", "-ops"},
		{"lobby", "", "lobby"}, {"lobby", "lobby", ""}, {"東京", "東", "京"},
	} {
		if got, ok := ending(c.word, c.typed); got != c.want || !ok {
			t.Errorf("%q after %q: %q %v", c.word, c.typed, got, ok)
		}
	}
	if got, ok := ending("lobby", "dev"); ok {
		t.Error(got)
	}
}
