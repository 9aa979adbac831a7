//go:build !linux

package main

import "errors"

func bootGuest() {}

func runUSBGuest([]string) error { return errors.New("runs in a virtual machine with Linux only") }

func runUSBReader([]string) error { return errors.New("there is no V4L2 here") }
