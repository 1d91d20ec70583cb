package main

import (
	"encoding/json"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"roomd/netsvc/client"
)

// caseless is where text that is no name of a room or a member is compared
// without case, by file and function, with what it is. Names are compared by
// their keys alone, which wire.ParseName and wire.Fold give: strings.EqualFold
// finds other ones, and none in full width or with combining marks.
var caseless = map[string]string{
	"admin/client.go Complete":              "commands",
	"admin/commands.go ":                    "levels of the log",
	"admin/look.go rooms":                   "states of rooms",
	"admin/param.go oneOf":                  "words of the usage",
	"admin/term/buffer.go find":             "lines typed before",
	"admin/term/complete.go commonPrefix":   "how far words begin alike: which there are has been said",
	"admin/param.go candidates":             "words of the usage",
	"admin/term/editor.go IsYes":            "yes and no",
	"admin/render.go list":                  "titles of columns",
	"admin/set.go parseBool":                "on and off",
	"admin/tap.go Level":                    "levels of the log",
	"admin/tap.go Handle":                   "levels of the log",
	"admin/tap.go watch":                    "text of the log",
	"admin/tap.go publish":                  "text of the log",
	"cmd/roomd/chat/commands.go runCommand": "commands",
	"cmd/roomd/remote/nick.go UniqueNick":   "a random word",
	"cmd/roomd/config/values.go lowerHost":  "hosts",
	"netsvc/client/room.go randomNick":      "a random word",
	"netsvc/irc/info.go doHelp":             "commands",
	"netsvc/web/guard.go hostname":          "hosts",
	"netsvc/web/guard.go originOf":          "schemes",
	"netsvc/web/page.go acceptsGzip":        "codings",
	"netsvc/web/master.go request":          "requests",
	"store/layout.go randomID":              "a random word",
}

func TestNamesAreComparedByKey(t *testing.T) {
	used := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "netsvc/wire/") {
			return err
		}
		file, err := goparser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			if p, _ := strconv.Unquote(i.Path.Value); p == "golang.org/x/text/cases" || strings.HasPrefix(p, "golang.org/x/text/secure") {
				t.Errorf("%s imports %s: names are folded in netsvc/wire", path, p)
			}
		}
		for _, decl := range file.Decls {
			where := strings.TrimPrefix(filepath.ToSlash(path), "../../") + " "
			if f, ok := decl.(*ast.FuncDecl); ok {
				where += f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				of, ok := call.X.(*ast.Ident)
				if !ok || of.Name != "strings" && of.Name != "bytes" && of.Name != "unicode" {
					return true
				}
				switch call.Sel.Name {
				case "EqualFold", "ToLower", "ToUpper", "ToTitle", "Title", "SimpleFold":
					if used[where] = true; caseless[where] == "" {
						t.Errorf("%s uses %s.%s: names are compared by wire.ParseName or wire.Fold; what is no name is to be listed here", where, of.Name, call.Sel.Name)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for where := range caseless {
		if !used[where] {
			t.Errorf("%s compares nothing without case any more", where)
		}
	}
}

// A room is found by its name however that is written, by every command, and no
// other room for it.
func TestNamesFindTheirRoom(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	server := []string{"--server", "127.0.0.1:" + strconv.Itoa(p.master)}
	with := func(args ...string) []string { return append(args, server...) }
	for _, name := range []string{"Café-ops", "café-ops2", "ας"} {
		p.ok(with("create", name)...)
	}
	for _, name := range []string{"Café-ops", "cafe\u0301-OPS", "ｃａｆé-ｏｐｓ"} {
		var all []client.RoomInfo
		if err := json.Unmarshal([]byte(p.ok(with("list", name, "--json")...)), &all); err != nil || len(all) != 1 || all[0].Name != "Café-ops" {
			t.Errorf("%s: %+v %v", name, all, err)
		}
		p.ok(with("send", name, "said in "+name)...)
	}
	for _, name := range []string{"ασ", "caf", "café-op", "cafe-ops", "a/b"} {
		if out := p.ok(with("list", name, "--json")...); strings.TrimSpace(out) != "[]" {
			t.Errorf("%s: %s", name, out)
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Café-ops", "cafe\u0301-OPS", "ｃａｆé-ｏｐｓ"} {
		if out := p.ok("store", "export", name); strings.Count(out, "said in ") != 3 {
			t.Errorf("export %s: %s", name, out)
		}
	}
	p.refuses("there is no room", "store", "export", "ασ")
	p.refuses("cannot be a name", "store", "export", "a/b")
}

// An import finds its rooms by their names, whatever the file has for a key, and
// refuses what is no name.
func TestImportFoldsNames(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.dir, "in"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := `{"seq":1,"time":"2026-11-29T12:00:00Z","kind":"message","from":"ann","text":"imported"}` + "\n"
	write(`{"room":{"name":"LOBBY","key":"LOBBY","port":0},"last":1}` + "\n" + line)
	if out := p.ok("store", "import", "in"); !strings.Contains(out, "0 rooms and 1 line") {
		t.Error(out)
	}
	write(`{"room":{"name":"a b","key":"ab","port":9999},"last":1}` + "\n" + line)
	p.refuses("cannot be a name", "store", "import", "in")
}
