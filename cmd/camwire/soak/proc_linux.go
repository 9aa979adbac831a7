package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// own puts a child into a process group of its own, and lets it end with this
// program should that be killed.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends a child and all that it has started.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// children are the processes that the server has started: codecs and sources.
func (s *server) children() []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	var out []int
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// gone says which of these processes are still there. One that nobody has
// collected yet is gone.
func gone(pids []int) error {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(b), ") ")
		if !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
			return fmt.Errorf("process %d is still there: %.40s", pid, b)
		}
	}
	return nil
}

// killer kills one of them.
func (s *server) killer(_ context.Context, r *rand.Rand) error {
	all := s.children()
	if len(all) == 0 {
		return errors.New("nothing to kill")
	}
	return syscall.Kill(all[r.IntN(len(all))], syscall.SIGKILL)
}

// fullDisk starts the server with its data on a disk of a megabyte, and fills
// that: whoever watches goes on watching, whoever wants something kept is told,
// and when there is room again, all is well.
func (s *server) fullDisk(ctx context.Context) error {
	unshare, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.CommandContext(ctx, unshare, "-rm", "true").Run()
	}
	if err != nil {
		s.o.say("NOT TESTED: a full disk: no mount of one's own is possible here: %v", err)
		return nil
	}
	if err := s.stop(); err != nil {
		return err
	}
	token, small := s.token, filepath.Join(s.dir, "data")
	script := fmt.Sprintf("mount -t tmpfs -o size=1m,mode=700 tmpfs %s && exec \"$@\"", small)
	if err := s.start(ctx, unshare, "-rm", "sh", "-c", script, "sh"); err != nil {
		return err
	}
	// unshare and sh become the server: its view of the disk is this one.
	inside := fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, small)
	b, err := os.ReadFile(filepath.Join(inside, "admin-token"))
	if err != nil {
		return err
	}
	s.token = strings.TrimSpace(string(b))
	defer func() { s.token = token }()
	control, err := watchControl(s)
	if err != nil {
		return err
	}
	defer control.close()
	if err := control.wait(ctx, 10); err != nil {
		return err
	}
	filler := filepath.Join(inside, "filler")
	if err := fill(filler); err != nil {
		return err
	}
	if err := eventually(ctx, "a full disk is noticed", func() error {
		if status, b, err := s.do(ctx, http.MethodGet, "/readyz", "", nil); err != nil || status != http.StatusServiceUnavailable {
			return fmt.Errorf("%d %s %w", status, b, err)
		}
		return nil
	}); err != nil {
		return err
	}
	entry := []byte(`{"id":"nospace","source":"test:","enabled":false,"name":"` + strings.Repeat("x", 150) + `"}`)
	if status, b, err := s.do(ctx, http.MethodPost, "/api/cameras", "application/json", entry); err != nil || status < 500 || !strings.Contains(string(b), `"error"`) {
		return fmt.Errorf("a camera that cannot be kept: %d %s %w", status, b, err)
	}
	if err := control.wait(ctx, 10); err != nil {
		return fmt.Errorf("while the disk is full: %w", err)
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if err := eventually(ctx, "room is noticed", func() error { _, err := s.get(ctx, "/readyz"); return err }); err != nil {
		return err
	}
	if status, b, err := s.do(ctx, http.MethodPost, "/api/cameras", "application/json", entry); err != nil || status != http.StatusCreated {
		return fmt.Errorf("a camera when there is room again: %d %s %w", status, b, err)
	}
	control.close()
	if err := s.stop(); err != nil {
		return err
	}
	s.token = token
	return s.start(ctx)
}

// fill writes until nothing more fits.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{64 << 10, 1} {
		for {
			if _, err = f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
		return err
	}
	return nil
}
