package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/when"
)

// condition compiles a pipeline's condition; nil where it has none.
func (p pipelineConfig) condition() (*when.Condition, error) {
	if p.When == "" {
		return nil, nil
	}
	return when.Parse([]byte(p.When))
}

// ticking is a pipeline's modules, behind its condition where it has one.
type ticking interface {
	bridge.Chain
	Tick() time.Duration
}

// conditioned is modules behind a condition.
type conditioned struct {
	*when.Stage
	modules ticking
}

// Tick is that of the modules: a condition has nothing to say by itself.
func (c conditioned) Tick() time.Duration { return c.modules.Tick() }

// behind puts a pipeline's condition before its modules.
func (g *gate) behind(f *file, name string, modules ticking) (ticking, error) {
	p := f.Pipelines[name]
	c, err := p.condition()
	if err != nil {
		return nil, fmt.Errorf("pipelines.%s.when: %w", name, err)
	}
	if c == nil {
		return modules, nil
	}
	o := when.Options{Pipeline: name, Condition: c, OnError: p.WhenError, States: g.store, Newest: g.store.Newest, Metrics: &g.metrics}
	return conditioned{when.NewStage(o, modules), modules}, nil
}

// conditions warns of what surprises in the pipelines' conditions.
func (c *checked) conditions(f *file) {
	for _, name := range slices.Sorted(maps.Keys(f.Pipelines)) {
		condition, err := f.Pipelines[name].condition()
		if err != nil || condition == nil {
			continue // an error has been told with the file's others
		}
		for _, w := range condition.Warnings() {
			c.warn("pipelines.%s.when: %s", name, w)
		}
	}
}

// surprises is what a store makes of a condition that people do not expect; err where it would refuse it.
func surprises(text []byte) ([]string, error) {
	c, err := when.Parse(text)
	if err != nil {
		return nil, err
	}
	return c.Warnings(), nil
}
