//go:build !linux

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os/exec"
)

func own(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func (s *server) children() []int { return nil }

func gone([]int) error { return nil }

func (s *server) killer(context.Context, *rand.Rand) error {
	return errors.New("the processes of the server are found on Linux only")
}

func (s *server) fullDisk(context.Context) error {
	s.o.say("NOT TESTED: a full disk: it needs Linux")
	return nil
}
