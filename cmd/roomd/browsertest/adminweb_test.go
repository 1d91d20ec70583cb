package browsertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// operatorPage runs roomd admin web, and returns the link that it prints.
func (s *server) operatorPage(flags ...string) (link string) {
	s.t.Helper()
	cmd := exec.Command(tools.program, append([]string{"admin", "web", "--socket", filepath.Join(s.dir, "roomd.sock")}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	link, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(link)
}

// view goes to a view of the operator's page by its link.
func (p *person) view(name string) {
	p.t.Helper()
	p.find("link", name).click()
	p.find("heading", name)
}

// fillIn writes into a field that has a name.
func (p *person) fillIn(role, name, text string) {
	p.t.Helper()
	p.find(role, name).focus()
	p.write(text)
}

// shows waits until the view has a text.
func (p *person) shows(text string) {
	p.t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	p.until(fmt.Sprintf("document.getElementById('view').innerText.includes(%s)", b))
}

const hostile = `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`

// The operator's page: charts move, a room is deleted with the question and restored, and the audit
// has both. Hostile text is text. The link is good for one use.
func TestOperatorPage(t *testing.T) {
	s := serve(t, "server.create = [\"lobby\", \"dev\"]")
	link := s.operatorPage()
	p := visit(t, link)
	p.find("heading", "Overview")
	if eval[bool](p, "location.href.includes('#')") {
		t.Error("the token stays in the address bar")
	}
	bob := s.enter(s.room, "bob")
	fmt.Fprintln(bob, "/topic "+hostile)
	bob.until("topic")

	// Charts move.
	chart := `document.querySelector('[data-chart="lines"] .line').getAttribute("d")`
	p.until(chart)
	before := eval[string](p, chart)
	fmt.Fprintln(bob, hostile)
	bob.until("<bob>")
	p.until(`/[1-9]/.test(document.querySelector('[data-chart="lines"] svg').getAttribute("aria-label").split(" at most")[0].split(", ")[1])`)
	p.until(fmt.Sprintf("%s !== %q", chart, before))
	p.until(`document.querySelector('[data-chart="members"] output').textContent === "1"`)
	samples := eval[int](p, `document.querySelector('[data-chart="members"] .line').getAttribute("d").length`)
	p.open(eval[string](p, "location.href")) // a reload keeps what was
	p.until(fmt.Sprintf(`document.querySelector('[data-chart="members"] .line')?.getAttribute("d")?.length >= %d`, samples))

	// A room is deleted and restored.
	p.view("Rooms")
	p.shows(hostile)
	p.find("link", "lobby").click()
	p.find("heading", "lobby")
	p.shows(hostile)
	p.find("button", "Delete").click()
	p.fillIn("textbox", "Notice to its members (optional)", "good bye")
	p.find("button", "Delete it").click()
	p.find("button", "Do it")
	p.find("button", "Cancel").click() // of the question
	if got := s.admin("rooms"); !strings.Contains(got, "lobby") {
		t.Errorf("%q: the room is gone without an answer", got)
	}
	p.find("button", "Delete it").click()
	p.find("button", "Do it").click()
	bob.until("chat room being deleted")
	p.find("heading", "Rooms")
	p.view("Trash")
	p.find("button", "Restore lobby #1").click()
	p.shows("The trash is empty.")
	if got := s.admin("rooms"); !strings.Contains(got, "lobby") {
		t.Errorf("%q: the room is not restored", got)
	}
	p.view("Audit")
	p.shows("restore #1")
	p.shows("admin web")
	var audit []struct{ Door, Line string }
	if err := json.Unmarshal([]byte(s.admin("audit", "--match", "lobby", "--by", fmt.Sprint(os.Getuid()), "--json")), &audit); err != nil || len(audit) == 0 || audit[0].Door != "admin web" {
		t.Error(audit, err)
	}
	if n := eval[int](p, "document.querySelectorAll('#view img, #view script').length"); n != 0 || eval[string](p, "document.title") == "broken" {
		t.Error("text has become markup")
	}

	// The link again, here and elsewhere.
	other := visit(t, link)
	other.find("heading", "This link was used already")
	other.expect("403")
	p.open(link)
	p.find("heading", "This link was used already")
	p.find("link", "Go to the page that this browser has opened").click()
	p.find("heading", "Overview")
	p.expect("403")
}

// Commands are run by forms that are made from the table, and by the line of the console.
func TestOperatorCommands(t *testing.T) {
	s := serve(t, "server.create = [\"lobby\"]")
	p := visit(t, s.operatorPage())
	p.find("heading", "Overview")
	p.view("Commands")
	p.fillIn("combobox", "Command line", "rooms")
	p.press("Enter")
	p.find("columnheader", "Name")
	p.find("button", "JSON").click()
	p.shows(`"name": "lobby"`)
	p.find("link", "create").click()
	p.find("heading", "create ROOM")
	p.fillIn("combobox", "ROOM", "a b")
	p.find("button", "Run").click()
	p.until("document.querySelector('.outcome .error')") // a bad name is refused
	p.find("link", "rooms").click()
	p.find("heading", "rooms [PATTERN]")
	p.find("link", "set").click()
	p.find("heading", "set ROOM [KEY] [VALUE]")
	p.fillIn("combobox", "ROOM", "lobby")
	p.fillIn("combobox", "KEY (optional)", "password")
	p.find("button", "Run").click()
	p.fillIn("textbox", "Password", "hunter2")
	p.fillIn("textbox", "Repeat it", "hunter3")
	p.find("button", "Set it").click()
	p.find("alert", "")
	p.find("textbox", "Repeat it").focus()
	p.press("Backspace")
	p.write("2")
	p.find("button", "Set it").click()
	p.shows("Done.")
	var settings []struct{ Key, Value string }
	if err := json.Unmarshal([]byte(s.admin("set", "lobby", "--json")), &settings); err != nil || settings[len(settings)-1].Key != "password" || settings[len(settings)-1].Value != "on" {
		t.Error(settings, err)
	}
	p.find("link", "top").click()
	p.find("heading", "top")
	p.find("button", "Watch").click()
	p.shows("lobby")
	p.find("button", "End").click()
	p.shows("Ended.")
	if strings.Contains(s.admin("audit", "--json"), "hunter") {
		t.Error("the audit has the password")
	}
}

// Without the right to change something nothing is offered that does.
func TestOperatorReadOnly(t *testing.T) {
	s := serve(t, "server.create = [\"lobby\"]")
	p := visit(t, s.operatorPage("--read-only"))
	p.find("heading", "Overview")
	p.view("Rooms")
	p.find("link", "lobby").click()
	p.find("heading", "lobby")
	p.shows("Newest lines")
	for _, name := range []string{"Delete", "Rename", "Topic", "Say"} {
		if len(p.all("button", name)) > 0 {
			t.Error(name, " is offered")
		}
	}
	p.view("Commands")
	p.fillIn("combobox", "Command line", "delete lobby --yes")
	p.press("Enter")
	p.until("document.querySelector('.outcome .error')")
	p.expect("403")
	if got := s.admin("rooms"); !strings.Contains(got, "lobby") {
		t.Errorf("%q: the room is gone", got)
	}
}

// A server that is killed is missed and waited for; an upgrade is not in the way.
func TestOperatorPageWithoutServer(t *testing.T) {
	s := serve(t, "server.create = [\"lobby\"]")
	p := visit(t, s.operatorPage())
	p.find("heading", "Overview")
	p.until("document.getElementById('state').textContent === 'connected'")
	p.away(true)
	s.kill()
	p.until("!document.getElementById('banner').hidden && document.getElementById('state').textContent !== 'connected'")
	s.start()
	p.until("document.getElementById('banner').hidden && document.getElementById('state').textContent === 'connected'")
	p.view("Rooms")
	p.find("link", "lobby")
	s.upgrade()
	p.view("Commands")
	p.fillIn("combobox", "Command line", "create after")
	p.press("Enter")
	p.until("document.querySelector('.outcome')?.textContent.includes('Done.')")
	if got := s.admin("rooms"); !strings.Contains(got, "after") {
		t.Errorf("%q: the command is not carried out", got)
	}
}

// axe-core finds nothing on any view, in either theme, on a desktop and on a phone.
func TestOperatorPageAccessible(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "..", "..", "bin", "axe.min.js"))
	if err != nil {
		lacks(t, "axe-core is not there: make axe gets it")
	}
	s := serve(t, "server.create = [\"lobby\", \"dev\"]")
	s.enter(s.room, "ann")
	s.admin("ban", "192.0.2.7", "--why", "flooding")
	s.admin("mute", "ann")
	s.create("old", "")
	s.admin("delete", "old", "--yes")
	s.admin("delete", "dev", "--in", "1h", "--yes")
	p := visit(t, s.operatorPage())
	p.find("heading", "Overview")
	eval[bool](p, string(script)+"; true")
	check := func(view string) {
		t.Helper()
		found := eval[string](p, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))])))`)
		if found != "[]" {
			t.Errorf("%s: %s", view, found)
		}
	}
	for _, theme := range []string{"light", "dark"} {
		call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		for _, size := range [][2]int64{{1440, 900}, {390, 844}} {
			p.do(chromedp.EmulateViewport(size[0], size[1]))
			for view, text := range map[string]string{"Overview": "everything", "Rooms": "lobby", "Members": "ann", "Live": "Pause", "Bans": "flooding", "Trash": "old", "Plans": "Delete the room", "Audit": "delete dev", "Commands": "roomd>"} {
				p.view(view)
				p.shows(text)
				check(fmt.Sprint(view, theme, size))
				if wide := eval[bool](p, "document.documentElement.scrollWidth > innerWidth"); wide {
					t.Error(view, size, " is wider than the screen")
				}
			}
			p.view("Rooms")
			p.find("link", "lobby").click()
			p.shows("Newest lines")
			p.shows("members at the same time")
			check(fmt.Sprint("room", theme, size))
			p.find("button", "Delete").click()
			p.find("button", "Delete it")
			check(fmt.Sprint("dialog", theme, size))
			p.press("Esc")
		}
	}
}
