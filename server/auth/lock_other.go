//go:build !unix && !windows

package auth

import "os"

// tryLock takes no lock: there is no second process to share with.
func tryLock(*os.File) (bool, error) { return true, nil }

func giveToOwner(string, ...string) error { return nil }
