package main

import (
	"context"
	"fmt"
	"runtime"
)

func runVersion(_ context.Context, e *environment, args []string) error {
	fs := e.flags("version")
	asJSON := jsonFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if *asJSON {
		return e.printJSON(map[string]string{"version": version, "go": runtime.Version(), "platform": platform})
	}
	_, err := fmt.Fprintf(e.out, "sluice %s %s %s\n", version, runtime.Version(), platform)
	return err
}
