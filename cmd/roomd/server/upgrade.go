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

// lingerTimeout is for members that cannot be handed over, and last answers.
const lingerTimeout = 7 * time.Second

// ExitStatus is the exit status, not 0, of the process that has served last. It has said why.
type ExitStatus int

func (e ExitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// managerFollows reports whether the service manager takes the process that we name for
// the server. Process 1 cannot leave: all others would end with it.
func (s *server) managerFollows() bool {
	return s.parent == nil && s.manager.Connected() && os.Getpid() != 1
}

// staysAsParent reports whether this process is to wait for the server once another one
// serves.
func (s *server) staysAsParent() bool { return s.parent == nil && !s.managerFollows() }

// upgrade hands the server over to a process of that binary, which program has
// found. After nil this process serves no more, and is to end. After an
// error it serves as before. dry only starts the process and asks it whether it
// could take over.
func (s *server) upgrade(ctx context.Context, binary string, dry bool) (admin.Upgrade, error) {
	return s.upgradeQueued(ctx, binary, dry, false)
}

// upgradeQueued is upgrade; queued says that it waits for other changes.
func (s *server) upgradeQueued(ctx context.Context, binary string, dry, queued bool) (report admin.Upgrade, err error) {
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
			text := "upgrade failed: this process keeps serving"
			if s.databaseLost != nil {
				text = "upgrade failed, and the database cannot be reopened: the server stops"
			}
			s.log.Error(text, "error", err)
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
	// A stop ends it at once: nothing is expected of the successor any more.
	defer context.AfterFunc(s.stopping, next.Abort)()
	if err := s.checkSuccessor(next, &report); err != nil {
		return report, errors.Join(err, next.Kill())
	}
	if dry {
		report.PID, report.Members = 0, s.svc.Status().Members
		return report, next.Kill()
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

// checkSuccessor finds out whether the successor can take over at all. Nothing stands
// still yet.
func (s *server) checkSuccessor(next *upgrade.Successor, report *admin.Upgrade) error {
	h, err := next.Hello()
	if err != nil {
		return err
	}
	report.Version, report.PID = h.Version, next.PID()
	if err := s.st.VerifyPath(); err != nil {
		return err
	}
	return h.Check(store.Schema, s.st.Path())
}

// handOver makes everything stand still, and either the successor serve or
// everything go on as it was.
func (s *server) handOver(ctx context.Context, next *upgrade.Successor, report *admin.Upgrade) error {
	s.manager.Notify("STATUS=upgrading: handing over to process " + strconv.Itoa(report.PID))
	if err := s.st.Checkpoint(); err != nil { // it would take time when everything stands still
		s.log.Warn("checkpoint before the upgrade failed: the pause will be longer", "error", err)
	}
	s.svc.AwaitAway(ctx)
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
			// Without the database there is nothing to go on with. A caller that asks for it is
			// refused, and the server ends, to be started again.
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

// transfer sends everything and waits until the successor serves.
func (s *server) transfer(next *upgrade.Successor, report *admin.Upgrade) (err error) {
	defer recoverAsError(s.log, "upgrade", &err)
	return next.HandOver(upgrade.Handover{
		State: upgrade.State{From: s.Version, Activated: s.config().Activated, Stays: s.staysAsParent()}, Parent: s.parent,
		Send:   func() error { return s.sendAll(next, report) },
		Commit: func() error { return s.commitHandover(report.PID) },
	})
}

// sendAll sends what there is to take over.
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

// commitHandover prepares for that another process is the server.
func (s *server) commitHandover(pid int) error {
	switch status := "STATUS=upgrading: process " + strconv.Itoa(pid) + " takes over"; {
	case s.managerFollows():
		// From the manager's view the successor is the server before it says so.
		s.manager.Notify("MAINPID="+strconv.Itoa(pid), status)
	case s.staysAsParent():
		// It may hand over in its turn and end, while we still end what we have.
		if err := upgrade.SetSubreaper(true); err != nil {
			return err
		}
		s.manager.Notify(status)
	}
	return nil
}

// resumeDatabase gets the database again. The killed successor has released it; if
// somebody else has it for a moment, that is waited for.
func (s *server) resumeDatabase() error {
	until, said := time.Now().Add(upgrade.ResumeTimeout), ""
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.st.Resume()
		if err == nil {
			return nil
		}
		if time.Now().Add(pause).After(until) {
			return fmt.Errorf("reopen the database: %w", err)
		}
		if said != err.Error() {
			said = err.Error()
			s.log.Warn("database cannot be reopened after the failed upgrade; retrying", "error", err)
		}
		time.Sleep(pause)
	}
}

// retire ends what this process still does once another one has taken over: for
// members that could not be handed over, and for the answer to the command. Then
// it ends, or waits for the server's end and ends in the same way.
func (s *server) retire() error {
	s.shell.SuspendPlans()
	// The file is the other process's: whoever still asks for it is refused.
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
