package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asService is where the packaged service runs, as far as that can be had without
// a service manager: another user without any capability, a file system that is
// read-only but for the folders of its own, a /tmp of its own.
const asService = `
set -e
uid=$1 dir=$2 binary=$3
shift 3
mount -t tmpfs tmpfs /mnt
mkdir /mnt/dir
touch /mnt/binary
mount --bind "$dir" /mnt/dir
mount --bind "$binary" /mnt/binary
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p "$dir" "$(dirname "$binary")"
[ -e "$binary" ] || touch "$binary"
mount --bind /mnt/dir "$dir"
mount --bind /mnt/binary "$binary"
for own in state run; do
	mount --bind "$dir/$own" "$dir/$own"
done
umount -l /mnt
mount -o remount,bind,ro "$dir"
mount -o remount,bind,ro /
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
`

// service makes p what the package's service is, if the test is root's. It
// returns the user whose the files are.
func (p *process) service() (uid int) {
	p.t.Helper()
	apart := os.Getuid() == 0 && runtime.GOOS == "linux"
	if uid = os.Getuid(); apart {
		uid = 61234 // nobody's
	}
	for _, dir := range []string{"state", "run"} {
		dir = filepath.Join(p.dir, dir)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, uid, uid)); err != nil {
			p.t.Fatal(err)
		}
	}
	if !apart {
		return uid
	}
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	config := filepath.Join(p.dir, "config.toml")
	if err := errors.Join(os.Chmod(filepath.Join(p.dir, "state"), 0o750), os.Chmod(config, 0o644), os.Chmod(filepath.Dir(p.dir), 0o755)); err != nil {
		p.t.Fatal(err)
	}
	p.prefix = []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", asService, "sh", fmt.Sprint(uid), p.dir, self}
	return uid
}

// owned fails the test if a file of the service is not its own any more.
func (p *process) owned(uid int) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "state", "*"))
	if err != nil || len(files) == 0 {
		p.t.Error("there are no files", err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			p.t.Error(err)
		} else if own := st.Sys().(*syscall.Stat_t); int(own.Uid) != uid || int(own.Gid) != uid || st.Mode() != 0o600 {
			p.t.Errorf("%s is %d:%d %v", f, own.Uid, own.Gid, st.Mode())
		}
	}
}

// The commands of the operator's page are carried out as they stand, in their
// order, with paths and ports of the test: by root, while the server runs as the
// package's service does. A line after a command must be in its output; … is
// anything.
func TestOperations(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := int(nextPort.Take(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\nserver.data = \"state/roomd.db\"\nadmin.socket = \"run/roomd.sock\"", metrics))
	uid := p.service()
	if err := os.Symlink("state/roomd.db", filepath.Join(p.dir, "roomd.db")); err != nil { // for a person who looks there
		t.Fatal(err)
	}
	bin := t.TempDir()
	program(t, bin)
	backups := t.TempDir()
	there := strings.NewReplacer("/var/backups", backups, "/etc/roomd/config.toml", "config.toml", "9180", fmt.Sprint(metrics))
	commands := 0
	shell := func(command string) (string, error) {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = p.dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), p.configured())
		out, err := cmd.CombinedOutput()
		if commands > 2 { // it has been started
			p.owned(uid)
		}
		return string(out), err
	}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllSubmatch(page, -1) {
		for _, step := range strings.Split("\n"+there.Replace(string(block[1])), "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			commands++
			t.Log(command)
			switch command {
			case "systemctl start roomd":
				p.start()
				p.nc(p.first, strings.NewReader("a line\n"))
				continue
			case "systemctl stop roomd":
				if err := p.kill(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				continue
			}
			out, err := shell(command)
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
			if line := without(out, want); line != "" {
				t.Errorf("%s\n%s\nlacks %q", command, out, line)
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands", commands)
	}
	// The line for cron, as root's.
	line := regexp.MustCompile(`(?m)^[0-9]+ [0-9]+ \* \* \* +root +(roomd admin .*backup .*)$`).FindStringSubmatch(there.Replace(string(page)))
	if line == nil {
		t.Fatal("there is no line for cron")
	}
	if out, err := shell(line[1]); err != nil {
		t.Errorf("%s: %v\n%s", line[1], err, out)
	}
	for _, name := range []string{"roomd.db", "roomd.db.1"} {
		st, err := os.Stat(filepath.Join(backups, name))
		if err != nil || st.Mode() != 0o600 || int(st.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
			t.Error("a backup of ours:", st, err)
		}
	}
	// What the page says of metrics is about ones that there are.
	source, err := os.ReadFile("metrics/collector.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`roomd_[a-z_]+[a-z]`).FindAllString(string(page), -1) {
		if name = strings.TrimSuffix(strings.TrimPrefix(name, "roomd_"), "_bucket"); name != "store" && !strings.Contains(string(source), `"`+name+`"`) && !strings.Contains(string(source), `"roomd_`+name+`"`) {
			t.Errorf("there is no metric roomd_%s", name)
		}
	}
}
