//go:build !linux

package e2e

import "os/exec"

func own(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func groupAlive(cmd *exec.Cmd) bool { return cmd.ProcessState == nil }
