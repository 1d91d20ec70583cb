package upgrade

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Predecessor is the process that this one takes over from. Its methods are called by
// one goroutine, in this order: SendHello, ReceiveState, Next until the kind is empty, AwaitCommit.
type Predecessor struct {
	*Pair
	// Parent leads to the process that waits for the server; nil: there is none. Next
	// sets it.
	Parent *Relay
}

// FindPredecessor looks into the environment whether this process was started to take over. If it
// was not it returns nil.
func FindPredecessor() (*Predecessor, error) {
	v := os.Getenv(envVar)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(envVar)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", envVar, v)
	}
	syscall.CloseOnExec(fd)
	pair, err := pairOn(uintptr(fd))
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	pair.SetTimeout(helloTimeout + FreezeTimeout + adoptTimeout)
	return &Predecessor{Pair: pair}, nil
}

// Fail tells the other process, if there is one, why this one cannot take over, and
// returns err. p may be nil.
func (p *Predecessor) Fail(err error) error {
	if p == nil {
		return err
	}
	p.SetTimeout(time.Second)
	if e := p.Send("failed", err.Error()); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// SendHello says what this binary is and understands: its version, the schema of
// databases that it writes, and the path of the one that it is to open.
func (p *Predecessor) SendHello(version string, schema int, data string) error {
	return p.Send("hello", Hello{version, [2]int{oldestVersion, Version}, schema, data})
}

// ReceiveState receives what comes before everything else.
func (p *Predecessor) ReceiveState() (s State, err error) {
	if err := p.Expect("state", &s); err != nil {
		return s, err
	}
	if s.Version < oldestVersion || s.Version > Version {
		return s, fmt.Errorf("its states are of version %d", s.Version)
	}
	return s, nil
}

// Next receives a frame of what is handed over; at the end the kind is empty. The caller
// owns the descriptors.
func (p *Predecessor) Next() (kind string, body []byte, fds []int, err error) {
	for {
		kind, body, fds, err := p.Receive()
		switch {
		case err != nil || kind == "end":
			return "", nil, nil, err
		case kind != "parent":
			return kind, body, fds, nil
		}
		conn, err := connFrom(fds)
		if err != nil {
			return "", nil, nil, err
		}
		p.Parent = &Relay{conn: conn, parent: true}
	}
}

// AwaitCommit says that everything is taken in, and waits for the word to serve. When
// it returns nil the other process has been told that this one does.
func (p *Predecessor) AwaitCommit() error {
	if err := p.Send("adopted", struct{}{}); err != nil {
		return err
	}
	p.SetTimeout(adoptTimeout + servingTimeout)
	if err := p.Expect("go", new(struct{})); err != nil {
		return err
	}
	return p.Send("serving", struct{}{})
}

// Relay is what the pair is once this process serves. stays is State.Stays.
func (p *Predecessor) Relay(stays bool) *Relay { return &Relay{conn: p.conn, parent: stays} }
