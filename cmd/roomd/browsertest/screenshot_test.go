package browsertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// staged is a room of the screenshots, and what has been said in it.
type staged struct {
	name, topic string
	lines       []stagedLine
}

// stagedLine is so many minutes old.
type stagedLine struct {
	age        int
	from, text string
}

var rooms = []staged{
	{"dev", "Release 2.4 on Friday · notes at https://docs.example.org/notes", []stagedLine{
		{94, "ann", "Good morning. The release branch is cut; please try it before noon."},
		{91, "bob", "It builds here. One test is slow on the old laptop, I am looking at it."},
		{88, "ci", "build 4812 passed in 6m 12s https://ci.example.org/4812"},
		{71, "carol", "The docs still say `--port`. Is that gone?"},
		{70, "ann", "Yes, since March. `roomd serve 8080` is all that it takes."},
		{69, "carol", "Then I will mend that page."},
		{43, "dmitri", "Somebody asked whether the history survives a power cut."},
		{41, "bob", "It does: a line is on disk before anybody sees it. I pulled the plug on the test machine twice last week, and every line was there."},
		{40, "bob", "The second time with 2,000 members in the room."},
		{39, "dmitri", "* is impressed"},
		{22, "eve", "Hello from the train, by the phone. The page came back after the tunnel as if nothing had been."},
		{17, "carol", "Welcome! The page for newcomers is up: https://docs.example.org/start"},
		{9, "ann", "Thank you both. Who writes the announcement?"},
		{8, "eve", "I can, if somebody reads it over."},
	}},
	{"music", "", []stagedLine{{300, "eve", "The quartet plays on Thursday, at seven."}}},
	{"ops", "Backups, disks and the weather", []stagedLine{{200, "carol", "The backup of the night is checked: 1.2 GB in 40 seconds."}}},
}

// stage writes the rooms as "roomd store import" takes them.
func stage(t testing.TB, file string, port int) {
	t.Helper()
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	now := time.Now().UTC()
	for i, r := range rooms {
		out.Encode(map[string]any{"room": map[string]any{"name": r.name, "key": r.name, "port": port + i, "created": now.Add(-24 * time.Hour), "topic": r.topic}, "last": len(r.lines)})
		for n, l := range r.lines {
			kind := "message"
			text, action := strings.CutPrefix(l.text, "* ")
			if action {
				kind = "action"
			}
			out.Encode(map[string]any{"seq": n + 1, "time": now.Add(-time.Duration(l.age) * time.Minute), "kind": kind, "from": l.from, "text": text, "notice": l.from == "ci"})
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestScreenshots makes the pictures of the documentation in the folder ROOMD_SCREENSHOTS (make
// screenshots).
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("ROOMD_SCREENSHOTS")
	if folder == "" {
		t.Skip("make screenshots sets ROOMD_SCREENSHOTS")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	// The ports are to be seen, and the same each time. Members that come and go are not.
	s := serveAt(t, 9000, "server.create = [\"lobby\"]\nweb.title = \"Example\"\nserver.advertise = \"chat.example.org\"\nrooms.quiet_above = 1")
	file := filepath.Join(s.dir, "staged.jsonl")
	stage(t, file, s.room+1)
	s.admin("topic", "lobby", "Welcome: say hello, and ask anything")
	s.kill()
	if out, err := exec.Command(tools.program, "store", "import", "--config", filepath.Join(s.dir, "config.toml"), file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.start()
	dev, ops := s.room+1, s.room+3
	for _, nick := range []string{"ann", "bob", "carol", "ci", "eve"} {
		s.enter(dev, nick)
	}
	dmitri, bob := s.enter(dev, "dmitri"), s.enter(ops, "bob")
	p := s.visit(t, "/r/ops")
	p.size(1440, 900)
	p.named("maria")
	p.open(s.url("/r/dev"))
	p.sees("if somebody reads it over")
	fmt.Fprintln(dmitri, "maria: you know the upgrade best, would you look at it?")
	p.sees("you know the upgrade best")
	p.say("With pleasure. Send it here when it is ready.")
	fmt.Fprintln(bob, "maria: the new disk for db2 has come.")
	p.tells("ops", "1", true)
	shot := func(name string) {
		t.Helper()
		eval[bool](p, `document.fonts.ready.then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
		b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		small := shrink(t, b)
		t.Logf("%s: %d bytes, %d as it came", name, len(small), len(b))
		if len(small) > 100<<10 {
			t.Errorf("%s has %d bytes", name, len(small))
		}
		if err := os.WriteFile(filepath.Join(folder, name+".png"), small, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.theme("light")
	shot("desktop-light")
	p.theme("dark")
	shot("desktop-dark")
	p.size(390, 844)
	shot("phone-dark")
	p.theme("light")
	shot("phone-light")
	p.size(1024, 768)
	p.press("Ctrl+Shift+f")
	p.find("searchbox", "Search").focus()
	p.write("disk")
	p.press("Enter")
	p.find("link", "*on disk before*")
	shot("search")
	p.press("Esc")
	p.press("Ctrl+k")
	p.find("dialog", "")
	p.theme("dark")
	shot("switcher-dark")
}

// shrink makes a picture small: with a palette of its 256 most frequent colours.
func shrink(t testing.TB, b []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[color.RGBA]int)
	r := from.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c := color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)
			count[c]++
		}
	}
	var colours []color.RGBA
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return int(a.R)<<16 + int(a.G)<<8 + int(a.B) - int(b.R)<<16 - int(b.G)<<8 - int(b.B)
	})
	palette := color.Palette{}
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	to := image.NewPaletted(r, palette)
	draw.Draw(to, r, from, r.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
