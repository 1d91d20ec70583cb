package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"roomd/admin"
)

const (
	interval   = 2 * time.Second
	maxSamples = int(15 * time.Minute / interval)
	maxRecent  = 300 // events, and lines of the log
)

// reading is what the command load answers.
type reading struct {
	Time  time.Time `json:"time"`
	Value struct {
		Started     time.Time `json:"started"`
		Rooms       int       `json:"rooms"`
		Members     int       `json:"members"`
		Connections int       `json:"connections"`
		Lagging     int       `json:"lagging"`
		Worst       uint64    `json:"worst"`
		Lines       uint64    `json:"lines"`
		Deliveries  uint64    `json:"deliveries"`
		Written     uint64    `json:"written_bytes"`
		Commits     uint64    `json:"commits"`
		Committing  float64   `json:"commit_seconds"`
		Database    int64     `json:"database_bytes"`
		Unused      int64     `json:"unused_bytes"`
		Disk        uint64    `json:"disk_free_bytes"`
	} `json:"value"`
}

// sample is a point of the charts.
type sample struct {
	Time        int64    `json:"t"` // milliseconds since 1970
	Rooms       int      `json:"rooms"`
	Members     int      `json:"members"`
	Connections int      `json:"connections"`
	Lagging     int      `json:"lagging"`
	Worst       uint64   `json:"worst"`      // pending events of the slowest member
	Lines       float64  `json:"lines"`      // a second
	Deliveries  float64  `json:"deliveries"` // a second
	Written     float64  `json:"written"`    // bytes a second
	Commit      *float64 `json:"commit"`     // mean milliseconds; nil: there was no commit
	Database    int64    `json:"database"`
	Unused      int64    `json:"unused"`
	Disk        uint64   `json:"disk"`
}

// sampleOf returns the point between two readings; false: the counters began again.
func sampleOf(a, b *reading) (s sample, ok bool) {
	from, to := &a.Value, &b.Value
	seconds := b.Time.Sub(a.Time).Seconds()
	if seconds <= 0 || !from.Started.Equal(to.Started) || to.Lines < from.Lines || to.Commits < from.Commits || to.Written < from.Written || to.Deliveries < from.Deliveries {
		return s, false
	}
	per := func(a, b uint64) float64 { return float64(b-a) / seconds }
	s = sample{
		Time: b.Time.UnixMilli(), Rooms: to.Rooms, Members: to.Members, Connections: to.Connections, Lagging: to.Lagging, Worst: to.Worst,
		Lines: per(from.Lines, to.Lines), Deliveries: per(from.Deliveries, to.Deliveries), Written: per(from.Written, to.Written),
		Database: to.Database, Unused: to.Unused, Disk: to.Disk,
	}
	if n := to.Commits - from.Commits; n > 0 {
		mean := 1000 * (to.Committing - from.Committing) / float64(n)
		s.Commit = &mean
	}
	return s, true
}

// message is a value for the browsers.
type message struct {
	Kind    string            `json:"kind"` // hello, state, samples, events, log, missed or end
	Samples []sample          `json:"samples,omitempty"`
	Values  []json.RawMessage `json:"values,omitempty"` // of events and log
	Here    bool              `json:"here,omitempty"`   // whether the server is; of state
	Text    string            `json:"text,omitempty"`
	Missed  uint64            `json:"missed,omitempty"`
	Hello   *hello            `json:"hello,omitempty"`
}

// hello is the first message.
type hello struct {
	User     string `json:"user"`
	Socket   string `json:"socket"`
	ReadOnly bool   `json:"read_only"`
}

// browser is a connection that shows the page.
type browser struct {
	messages chan message
	missed   atomic.Uint64
}

// feed follows the server, and passes its values to the browsers.
type feed struct {
	commands admin.Page
	wait     time.Duration
	ended    chan struct{}  // closed by end
	tasks    sync.WaitGroup // those that follow events and the log

	mu       sync.Mutex
	last     *reading
	samples  []sample
	recent   map[string][]json.RawMessage // events and log
	here     bool
	state    string // what is wrong while the server is not here
	endText  string
	browsers map[*browser]bool
	stop     context.CancelFunc // ends following events and the log
}

// newFeed returns the feed of a server that the caller has reached.
func newFeed(commands admin.Page, wait time.Duration) *feed {
	return &feed{commands: commands, wait: wait, here: true, ended: make(chan struct{}), recent: make(map[string][]json.RawMessage), browsers: make(map[*browser]bool)}
}

// retryPause is the pause between two attempts to reach the server.
const retryPause = 200 * time.Millisecond

// run follows the load until ctx is done. It returns an error when the server has ended and did
// not come back in time, or refuses to serve this user.
func (f *feed) run(ctx context.Context) error {
	line := fmt.Sprintf("watch load --every %v --json", interval)
	var gone time.Time // zero: the server is here
	for {
		v, err := f.commands.Follow(ctx, line, func(l string) {
			gone = time.Time{}
			f.addReading(l)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			v.Text = err.Error()
		}
		switch {
		case err == nil && (v.Code == "denied" || v.Code == "usage"):
			return errors.New(v.Text)
		case gone.IsZero():
			gone = time.Now()
		case time.Since(gone) > f.wait:
			return fmt.Errorf("the server has ended and did not come back within %v: %s", f.wait, v.Text)
		}
		f.setState(false, v.Text)
		if !sleep(ctx, retryPause) {
			return nil
		}
	}
}

// sleep waits, and returns false if ctx was done before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// addReading adds a line of watch load.
func (f *feed) addReading(line string) {
	r := new(reading)
	if err := json.Unmarshal([]byte(line), r); err != nil {
		return // of another version; the charts stand still
	}
	f.setState(true, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.last
	f.last = r
	if before == nil {
		return
	}
	s, ok := sampleOf(before, r)
	if !ok {
		return
	}
	f.samples = append(f.samples, s)
	if n := len(f.samples) - maxSamples; n > 0 {
		f.samples = slices.Delete(f.samples, 0, n)
	}
	f.sendLocked(message{Kind: "samples", Samples: []sample{s}})
}

// setState tells the browsers when the server goes or comes back.
func (f *feed) setState(here bool, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.here == here {
		return
	}
	f.here, f.state = here, text
	f.sendLocked(message{Kind: "state", Here: here, Text: text})
}

// sendLocked sends a message to all browsers, and counts it for those that are too slow. mu is
// held.
func (f *feed) sendLocked(m message) {
	for b := range f.browsers {
		select {
		case b.messages <- m:
		default:
			b.missed.Add(1)
		}
	}
}

// enter adds a browser, and returns the messages that it gets first; nil: the page has ended.
func (f *feed) enter() (b *browser, first []message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.ended:
		return nil, nil
	default:
	}
	b = &browser{messages: make(chan message, 512)}
	f.browsers[b] = true
	if len(f.browsers) == 1 {
		var ctx context.Context
		ctx, f.stop = context.WithCancel(context.Background())
		for kind, line := range map[string]string{"events": "watch events --json", "log": "watch log --json"} {
			f.tasks.Go(func() { f.follow(ctx, kind, line) })
		}
	}
	first = append(first, message{Kind: "state", Here: f.here, Text: f.state}, message{Kind: "samples", Samples: slices.Clone(f.samples)})
	for _, kind := range []string{"events", "log"} {
		first = append(first, message{Kind: kind, Values: slices.Clone(f.recent[kind])})
	}
	return b, first
}

// leave removes a browser.
func (f *feed) leave(b *browser) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.browsers, b)
	if len(f.browsers) == 0 {
		f.stop()
	}
}

// follow passes on a stream until ctx is done. Between two servers it tries again.
func (f *feed) follow(ctx context.Context, kind, line string) {
	for ctx.Err() == nil {
		f.commands.Follow(ctx, line, func(l string) { f.addRecent(kind, json.RawMessage(l)) })
		sleep(ctx, retryPause)
	}
}

// addRecent passes on an event or a line of the log, and keeps it for a browser that comes later.
func (f *feed) addRecent(kind string, v json.RawMessage) {
	if !json.Valid(v) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append(f.recent[kind], v)
	f.recent[kind] = slices.Delete(all, 0, max(0, len(all)-maxRecent))
	f.sendLocked(message{Kind: kind, Values: []json.RawMessage{v}})
}

// end tells the browsers why the page ends, and lets none enter any more.
func (f *feed) end(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endText = text
	close(f.ended)
}

// lastMessage returns the message that ends a browser's stream.
func (f *feed) lastMessage() message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return message{Kind: "end", Text: f.endText}
}
