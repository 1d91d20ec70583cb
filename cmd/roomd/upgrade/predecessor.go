package upgrade

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Predecessor is the process from which this one takes over. One goroutine calls its
// methods, in this order: SendHello, ReceiveState, Next until the kind is empty, AwaitCommit.
type Predecessor struct {
	*Pair
	// Parent leads to the process that waits for the server; nil: there is none. Next sets it.
	Parent *Relay
}

// FindPredecessor returns the process that has started this one to take over, from the
// environment. It returns nil in a process that was started in another way.
func FindPredecessor() (*Predecessor, error) {
	v := os.Getenv(envVar)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(envVar)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not a descriptor", envVar, v)
	}
	syscall.CloseOnExec(fd)
	pair, err := pairOn(uintptr(fd))
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	pair.SetTimeout(helloTimeout + FreezeTimeout + adoptTimeout)
	return &Predecessor{Pair: pair}, nil
}

// Fail reports to the predecessor why this process cannot take over, and returns err. A nil
// Predecessor gets no report.
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

// SendHello describes this binary: its version, the schema of its databases, and the path of
// the database in its configuration.
func (p *Predecessor) SendHello(version string, schema int, data string) error {
	return p.Send("hello", Hello{version, [2]int{oldestVersion, Version}, schema, data, true})
}

// ReceiveState receives the first frame of the handover.
func (p *Predecessor) ReceiveState() (s State, err error) {
	if err := p.Expect("state", &s); err != nil {
		return s, err
	}
	if s.Version < oldestVersion || s.Version > Version {
		return s, fmt.Errorf("the state has the version %d, which this binary does not read", s.Version)
	}
	return s, nil
}

// Next receives a frame of the handover. The kind is empty at the end. The caller owns the
// descriptors.
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

// AwaitCommit reports that everything is adopted, and waits for the command to serve. When it
// returns nil, the predecessor knows that this process serves.
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

// Relay makes a Relay of the pair, once this process serves. stays is State.Stays.
func (p *Predecessor) Relay(stays bool) *Relay { return &Relay{conn: p.conn, parent: stays} }
