package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/sluicebridge/sluice/bridge"
)

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// runStages starts all parts and stops them stage by stage, the first stage first, when ctx ends or any part does. A stage is stopped only
// when the one before has come to its end: inputs finish what they have read into a ledger that is still there. The first error counts.
func runStages(ctx context.Context, stages [][]part) error {
	kept := context.WithoutCancel(ctx)
	ended := make(chan error, countParts(stages))
	stops := make([]func(), len(stages))
	for i, parts := range stages {
		stage, cancel := context.WithCancel(kept)
		var running sync.WaitGroup
		for _, p := range parts {
			running.Go(func() {
				err := p.run(stage)
				if err == nil && stage.Err() == nil {
					err = fmt.Errorf("ended by itself")
				}
				if err != nil {
					err = fmt.Errorf("%s: %w", p.name, err)
				}
				ended <- err
			})
		}
		stops[i] = func() { cancel(); running.Wait() }
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-ended:
	}
	for i, stop := range stops {
		stop()
		bridge.CrashPoint(fmt.Sprintf("stage.%d.stopped", i))
	}
	close(ended)
	for err := range ended {
		if first == nil {
			first = err
		}
	}
	return first
}

func countParts(stages [][]part) int {
	n := 0
	for _, parts := range stages {
		n += len(parts)
	}
	return n
}
