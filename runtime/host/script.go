package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/sluicebridge/sluice/runtime/abi"
)

const (
	engineFile = "script-engine.wasm"
	maxScript  = 1 << 20 // bytes
)

// engineDirs are where the engine is looked for, from the directory of the executable: beside it, as a package installs it, and where
// `make script-engine` puts it.
var engineDirs = [...]string{".", "../lib/sluice", "../wasm-modules/dist"}

// findEngine returns the path of the engine that came with the executable.
func findEngine() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("script: look for its engine: %w", err)
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	for _, dir := range engineDirs {
		path := filepath.Join(filepath.Dir(exe), dir, engineFile)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("script: no engine: %s is neither beside %s nor in ../lib/sluice or ../wasm-modules/dist from there; `make script-engine` builds it, "+
		"path names one that is elsewhere", engineFile, exe)
}

// options is what an engine is given, as JSON.
type options struct {
	File   string          `json:"file"`   // name for people
	Memory uint32          `json:"memory"` // bytes that the instance may have
	Output uint32          `json:"output"` // bytes of an answer
	Units  int64           `json:"units"`  // budget of a call
	Config json.RawMessage `json:"config"`
	Text   string          `json:"text"`
}

// prepare makes m a module of a script, if it is one: text, so that with the engine's bytes before it there is but one way to part the two. Unlike
// that of other modules its config has no schema: it is there before the script can say anything.
func (m *Module) prepare(script []byte) error {
	switch {
	case m.cfg.Script == "":
		return nil
	case len(script) > maxScript:
		return fmt.Errorf("script: %s has %d bytes, want at most %d", m.cfg.Script, len(script), maxScript)
	case !utf8.Valid(script) || bytes.IndexByte(script, 0) >= 0:
		return fmt.Errorf("script: %s is not a text in UTF-8", m.cfg.Script)
	}
	config, err := configJSON(&abi.Manifest{}, m.cfg.Config)
	if err != nil {
		return err
	}
	o := options{filepath.Base(m.cfg.Script), uint32(m.cfg.Memory), uint32(m.cfg.Output), m.limit.worth(m.rt.speed), config, string(script)}
	m.script, err = json.Marshal(o)
	return err
}

// checkEngine: a script needs an engine, and an engine a script.
func (m *Module) checkEngine() error {
	_, engine := m.compiled.ExportedFunctions()[abi.ExportScript]
	switch {
	case m.script == nil && engine:
		return errors.New("script: missing: path is an engine")
	case m.script != nil && !engine:
		return fmt.Errorf("path: not an engine for scripts: export %s is missing", abi.ExportScript)
	}
	return nil
}

// exhausted is why the host ended a call. An engine looks after a script's budget itself and says where the script was; what it cannot look
// into is a single function of the language at work on something huge.
func (m *Module) exhausted(why error) error {
	if m.script == nil || !errors.Is(why, errExhausted) {
		return why
	}
	return fmt.Errorf("%w, within one call of a built-in function by %s", why, filepath.Base(m.cfg.Script))
}

// interpret hands the script over. It is compiled and its top level runs, within the budget of a start.
func (in *instance) interpret() error {
	if in.m.script == nil {
		return nil
	}
	return in.give(abi.ExportScript, in.mod.ExportedFunction(abi.ExportScript), in.m.script, limit{units: startUnits})
}
