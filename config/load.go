package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Options say what is merged with the file. The zero value reads the file alone.
type Options struct {
	// Env is the environment as os.Environ has it. Variables that begin with
	// CAMWIRE_ and name no key are mistakes, except those in IgnoreEnv.
	Env       []string
	IgnoreEnv []string
	// Overrides win over file and environment; flags become overrides.
	Overrides Overrides
	// Optional accepts a file that does not exist as an empty one.
	Optional bool
}

// Load reads the file at path and merges environment and overrides, later ones
// winning, over the default values. An empty path reads no file.
//
// A mistake in an entry of cameras drops that entry. Any other mistake fails
// the load with an *Error. The problems are all of them, in the order of the
// file, whether the load failed or not. A file that cannot be read gives its
// error and no problems.
func Load(path string, o Options) (Config, []Problem, error) {
	data, err := readFile(path, o.Optional)
	if err != nil {
		return Config{}, nil, err
	}
	return Parse(filepath.Base(path), data, o)
}

// Parse is Load with the contents of the file. The name is for messages.
func Parse(name string, data []byte, o Options) (Config, []Problem, error) {
	c := base()
	col := newCollector()
	hasCameras := decodeFile(col, name, data, &c)
	applyEnv(col, o.Env, o.IgnoreEnv, &c)
	applyOverrides(col, o.Overrides, &c)
	if !hasCameras && len(c.Cameras) == 0 {
		c.Cameras = Default().Cameras
	}
	validateAll(col, &c)

	// Every problem names its entry's place until the ids are known.
	problems := col.sorted()
	dropped := map[int]bool{}
	var fatal []Problem
	for i, p := range problems {
		if p.Fatal() {
			fatal = append(fatal, p)
			continue
		}
		n := cameraIndex(p.Camera)
		dropped[n] = true
		if n < len(c.Cameras) && idPattern.MatchString(c.Cameras[n].ID) {
			problems[i].Camera = c.Cameras[n].ID
		}
	}
	if fatal != nil {
		return Config{}, problems, &Error{Problems: fatal}
	}
	kept := make([]Camera, 0, len(c.Cameras))
	for i, camera := range c.Cameras {
		if !dropped[i] {
			kept = append(kept, camera)
		}
	}
	c.Cameras = slices.Clip(kept)
	return c, problems, nil
}

// readFile reads at most maxFileSize bytes.
func readFile(path string, optional bool) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if optional {
			return nil, nil
		}
		return nil, fmt.Errorf("configuration %q does not exist: create it, or name another with --config: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %q cannot be read: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		// A pipe would block for ever.
		return nil, fmt.Errorf("configuration %q is no regular file: name a YAML file with --config", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %q cannot be read: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("configuration %q cannot be read: %w", path, err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("configuration %q is larger than %d bytes: is it the right file?", path, maxFileSize)
	}
	return data, nil
}
