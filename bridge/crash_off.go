//go:build !crashpoints

package bridge

// CrashPoint marks a durable boundary: tests/crash builds the bridge with the tag crashpoints and has it die at a point by name. In every
// other build it is nothing.
func CrashPoint(string) {}
