package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"roomd/netsvc/netsvctest"
)

const patience = 20 * time.Second

// nextPort hands out master ports and rooms' ports, apart from those of other packages' tests.
var nextPort = netsvctest.NewPorts(7000, 8000)

// tools are what all tests share. They are there from the first test that needs them on.
var tools struct {
	dir     string          // of this run
	chrome  context.Context // the browser
	missing string          // why there is no browser
	program string          // roomd
	err     error
	get     sync.Once
	end     []func() // at the end of the run
}

func TestMain(m *testing.M) {
	status := func() int {
		dir, err := os.MkdirTemp("", "browsertest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		tools.dir = dir
		defer func() {
			if tools.chrome != nil {
				chromedp.Cancel(tools.chrome) // else it goes on running
			}
		}()
		defer func() {
			for _, end := range tools.end {
				end()
			}
		}()
		return m.Run()
	}()
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// needs skips the test where something is missing that the tests drive, or fails it in CI.
func needs(t testing.TB) {
	t.Helper()
	tools.get.Do(func() {
		if tools.missing, tools.err = startBrowser(); tools.missing == "" && tools.err == nil {
			tools.err = build()
		}
	})
	if tools.err != nil {
		t.Fatal(tools.err)
	}
	if tools.missing != "" {
		lacks(t, tools.missing)
	}
}

// lacks ends a test that something is missing for.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func startBrowser() (missing string, err error) {
	path := ""
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return "chromium-headless-shell is not installed", nil
	}
	// The fonts are the same wherever the tests run, if they are there.
	fonts, err := filepath.Abs(filepath.Join("testdata", "fonts.conf"))
	if err != nil {
		return "", err
	}
	// As root it gets no sandbox, by chromedp.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU,
		chromedp.Env("FONTCONFIG_FILE="+fonts, "LANG=C.UTF-8", "TZ=UTC"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.Flag("lang", "en"),
		chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"), chromedp.Flag("user-data-dir", filepath.Join(tools.dir, "chrome")))
	ctx, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	tools.chrome = ctx
	return "", nil
}

// build makes the program that users have, without the race detector.
func build() error {
	tools.program = filepath.Join(tools.dir, "roomd")
	cmd := exec.Command("go", "build", "-trimpath", "-o", tools.program, "roomd/cmd/roomd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s", err, out)
	}
	return nil
}

// await waits until nothing lacks. It is for what the page and other processes bring about and tell
// nobody of, so that only looking helps.
func await(t testing.TB, lacks func() string) {
	t.Helper()
	const longest = 50 * time.Millisecond // between two looks
	for end, pause := time.Now().Add(patience), time.Millisecond; ; pause = min(2*pause, longest) {
		what := lacks()
		if what == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(pause)
	}
}
