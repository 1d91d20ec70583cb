package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/upgrade"
	"roomd/store"
)

// lingerTimeout bounds the time for the last output of members that cannot be handed over,
// and for the last answers of the admin socket.
const lingerTimeout = 7 * time.Second

// ExitStatus is the exit status, not 0, of the process that served last. That process has
// printed the reason.
type ExitStatus int

func (e ExitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// managerFollows reports whether the service manager accepts another main process. Process 1
// of a container cannot exit: the kernel would end all other processes with it.
func (s *server) managerFollows() bool {
	return s.parent == nil && s.manager.Connected() && os.Getpid() != 1
}

// staysAsParent reports whether this process has to wait for the server once another
// process serves.
func (s *server) staysAsParent() bool { return s.parent == nil && !s.managerFollows() }

// upgrade hands the server over to a process of that binary, whose path upgrade.Program has
// checked. After nil this process serves no more and has to exit. After an error it serves
// as before. dry only starts the process and asks whether it could take over. queued is for
// beginChange.
func (s *server) upgrade(ctx context.Context, binary string, dry, queued bool) (report admin.Upgrade, err error) {
	defer recoverAsError(s.log, "upgrade", &err)
	unlock, err := s.beginChange(queued)
	if err != nil {
		return report, err
	}
	defer unlock()
	if s.Console {
		return report, errors.New("a server with a console in its terminal cannot be upgraded: stop it and start it again")
	}
	report.Binary = binary
	s.log.Info("upgrade started", "binary", binary, "dry_run", dry)
	began := time.Now()
	defer func() {
		report.Took = time.Since(began).Round(time.Millisecond).String()
		if err != nil && !dry {
			if s.databaseLost != nil {
				s.log.Error("upgrade failed, and the database cannot be reopened: the server stops", "error", err)
			} else {
				s.log.Error("upgrade failed: this process keeps serving", "error", err)
			}
			s.manager.Notify("STATUS=" + statusLine(s.svc, s.st))
		}
	}()
	next, err := upgrade.Start(binary, s.system)
	if err != nil {
		return report, err
	}
	defer func() {
		if !s.handedOver() {
			next.Close()
		}
	}()
	// A stop aborts the upgrade at once.
	defer context.AfterFunc(s.stopping, next.Abort)()
	hello, err := s.checkSuccessor(next, &report)
	if err != nil {
		return report, errors.Join(err, next.Kill())
	}
	if dry {
		report.PID, report.Members = 0, s.svc.Status().Members
		return report, next.Kill()
	}
	if !hello.Doors {
		s.svc.LeaveDoors()
	}
	if err := s.handOver(ctx, next, &report); err != nil {
		return report, err
	}
	if s.parent != nil {
		if err := s.parent.SendPID(report.PID); err != nil {
			s.log.Error("parent process cannot be told which process serves now", "error", err)
		}
	}
	s.log.Info("upgrade finished: another process serves now", "pid", report.PID, "version", report.Version, "members", report.Members,
		"pause", report.Pause, "took", time.Since(began).Round(time.Millisecond).String())
	s.successor = next
	close(s.successorServes)
	return report, nil
}

// checkSuccessor checks whether the successor can take over at all, before the freeze.
func (s *server) checkSuccessor(next *upgrade.Successor, report *admin.Upgrade) (upgrade.Hello, error) {
	h, err := next.Hello()
	if err != nil {
		return h, err
	}
	report.Version, report.PID = h.Version, next.PID()
	if err := s.st.VerifyPath(); err != nil {
		return h, err
	}
	return h, h.Check(store.Schema, s.st.Path())
}

// handOver freezes the server. Then the successor serves, or, after an error, this process
// continues as before.
func (s *server) handOver(ctx context.Context, next *upgrade.Successor, report *admin.Upgrade) error {
	s.manager.Notify("STATUS=upgrading: handing over to process " + strconv.Itoa(report.PID))
	if err := s.st.Checkpoint(); err != nil { // a checkpoint by the successor would make the freeze longer
		s.log.Warn("checkpoint before the upgrade failed: the pause will be longer", "error", err)
	}
	s.svc.AwaitBlocked(ctx)
	began := time.Now()
	frozen, cancel := context.WithTimeout(ctx, upgrade.FreezeTimeout)
	defer cancel()
	if err := s.svc.Freeze(frozen); err != nil {
		return errors.Join(fmt.Errorf("freeze the network: %w", err), next.Kill())
	}
	if err := s.st.Suspend(); err != nil {
		s.svc.Thaw()
		return errors.Join(fmt.Errorf("release the database: %w", err), next.Kill())
	}
	if s.adminSocket != nil {
		s.adminSocket.Pause()
	}
	err := s.transfer(next, report)
	if err != nil {
		if s.managerFollows() {
			s.manager.Notify("MAINPID=" + strconv.Itoa(os.Getpid()))
		}
		if s.staysAsParent() {
			err = errors.Join(err, upgrade.SetSubreaper(false))
		}
		err = errors.Join(err, next.Kill())
		if lost := s.resumeDatabase(); lost != nil {
			// Without the database the server cannot continue: its store refuses every call, and the
			// server stops, to be started again.
			err = errors.Join(err, lost, s.st.Close())
			s.databaseLost = lost
			s.halt(lost)
		}
		s.svc.Thaw()
		if s.adminSocket != nil {
			s.adminSocket.Resume()
		}
	}
	report.Pause = time.Since(began).Round(time.Millisecond).String()
	return err
}

// transfer sends the state of the server and waits until the successor serves.
func (s *server) transfer(next *upgrade.Successor, report *admin.Upgrade) (err error) {
	defer recoverAsError(s.log, "upgrade", &err)
	return next.HandOver(upgrade.Handover{
		State: upgrade.State{From: s.Version, Activated: s.config().Activated, Stays: s.staysAsParent()}, Parent: s.parent,
		Send:   func() error { return s.sendAll(next, report) },
		Commit: func() error { return s.commitHandover(report.PID) },
	})
}

// sendAll sends the listeners of operators and everything of the network.
func (s *server) sendAll(next *upgrade.Successor, report *admin.Upgrade) (err error) {
	if s.adminSocket != nil {
		if err := next.SendListener("admin", s.config().Admin.Socket, s.adminSocket.Conn()); err != nil {
			return err
		}
	}
	if s.metricsListener != nil {
		if err := next.SendListener("metrics", s.config().Metrics.Listen, s.metricsListener); err != nil {
			return err
		}
	}
	report.Members, err = s.svc.HandOver(next.Send)
	return err
}

// commitHandover prepares this process and the service manager for the successor.
func (s *server) commitHandover(pid int) error {
	switch status := "STATUS=upgrading: process " + strconv.Itoa(pid) + " takes over"; {
	case s.managerFollows():
		// The manager must know the new main process before that one notifies it.
		s.manager.Notify("MAINPID="+strconv.Itoa(pid), status)
	case s.staysAsParent():
		// The successor may hand over in its turn and exit while this process still ends its work.
		if err := upgrade.SetSubreaper(true); err != nil {
			return err
		}
		s.manager.Notify(status)
	}
	return nil
}

// resumeDatabase opens the database again, which the killed successor has released. If
// another process has it open for a moment, resumeDatabase tries again for ResumeTimeout.
func (s *server) resumeDatabase() error {
	until, logged := time.Now().Add(upgrade.ResumeTimeout), ""
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.st.Resume()
		if err == nil {
			return nil
		}
		if time.Now().Add(pause).After(until) {
			return fmt.Errorf("reopen the database: %w", err)
		}
		if logged != err.Error() {
			logged = err.Error()
			s.log.Warn("database cannot be reopened after the failed upgrade; retrying", "error", err)
		}
		time.Sleep(pause)
	}
}

// retire ends the work of this process once another process serves: members that could not
// be handed over get their last output, and the command its answer. If this process stays
// as the parent, retire waits for the exit of the server.
func (s *server) retire() error {
	s.shell.SuspendPlans()
	// The database belongs to the other process: this store refuses every call from now on.
	if err := s.st.Close(); err != nil {
		s.log.Error("database cannot be closed after the upgrade", "error", err)
	}
	if s.stopMetrics != nil {
		s.stopMetrics()
	}
	s.svc.Abandon(lingerTimeout)
	if s.adminSocket != nil {
		s.adminSocket.Retire(lingerTimeout)
	}
	if !s.staysAsParent() {
		return nil
	}
	s.log.Info("this process stays as the parent: it forwards signals to the server process and waits for its exit", "pid", s.successor.PID())
	debug.FreeOSMemory()
	status, err := s.successor.AwaitServerExit()
	if err == nil && status != 0 {
		err = ExitStatus(status)
	}
	return err
}
