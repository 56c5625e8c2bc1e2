package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge/site"
)

// demoSite is a machine that comes to stable speed and stops again three times a minute.
func demoSite() site.VibrationConfig {
	return site.VibrationConfig{Start: time.Now(), Interval: 50 * time.Millisecond, Samples: 1024, Cycle: 20 * time.Second}
}

// runDemo runs the bridge of a configuration between a simulated site and an embedded broker, until ctx ends.
func runDemo(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("demo")
	path := configFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := loadConfig(*path)
	if err != nil {
		return err
	}
	sender, address, err := demoEnds(f)
	if err != nil {
		return err
	}
	broker, err := newDemoBroker(address)
	if err != nil {
		return err
	}
	g, err := open(ctx, *path, slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return errors.Join(err, broker.server.Close())
	}
	fmt.Fprintf(e.out, "sensors → %s → sluice → mqtt://%s   live figures: %s   (Ctrl-C ends it)\n", sender.Target, address, g.page())
	edge := site.Config{Vibration: demoSite(), Duration: 1000 * time.Hour, Pace: 1, Sender: sender}
	err = runStages(ctx, [][]part{
		{{"site", func(ctx context.Context) error { return site.Run(ctx, edge) }}},
		{
			{"bridge", func(ctx context.Context) error { return g.run(ctx) }},
			{"figures", func(ctx context.Context) error { return g.tell(ctx, e.out, broker) }},
		},
		{{"broker", broker.run}},
	})
	return errors.Join(err, g.close())
}

// demoEnds reads from the configuration where the simulated site sends to, and where the broker has to listen.
func demoEnds(f *file) (sender site.SenderConfig, address string, err error) {
	inputs, remotes := slices.Sorted(maps.Keys(f.Inputs.Replication)), slices.Sorted(maps.Keys(f.Remotes.MQTT))
	if len(inputs) == 0 || len(remotes) == 0 {
		return sender, "", usageError{"demo: the configuration needs an input and a remote"}
	}
	in := f.Inputs.Replication[inputs[0]]
	if err := readTokens(&in); err != nil {
		return sender, "", err
	}
	sender = site.SenderConfig{Target: "http://" + in.Listen, Bucket: in.Bucket, Token: in.Token, RetryAfter: time.Second}
	if sender.Bucket == "*" {
		sender.Bucket = "demo"
	}
	broker, err := url.Parse(f.Remotes.MQTT[remotes[0]].Broker)
	if err != nil || broker.Scheme != "mqtt" || broker.Port() == "" || !loopback(broker.Host) {
		return sender, "", usageError{fmt.Sprintf("demo: remotes.mqtt.%s.broker: want mqtt://127.0.0.1:PORT, "+
			"where the demo's own broker can listen", remotes[0])}
	}
	return sender, broker.Host, nil
}

// tell prints a line a second of what flows.
func (g *gate) tell(ctx context.Context, out io.Writer, broker *demoBroker) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var received, filtered, delivered int64
		for name := range g.intakes {
			received += g.metrics.RecordsReceived.At(name).Load()
			filtered += g.metrics.RecordsFiltered.At(name).Load()
		}
		for _, r := range g.remotes {
			delivered += g.metrics.MessagesDelivered.At(r.name).Load()
		}
		arrived := broker.seen()
		fmt.Fprintf(out, "%s  received %6d   filtered %6d   delivered %6d   at the broker %6d, of these twice or out of order %d\n",
			time.Now().Format(time.TimeOnly), received, filtered, delivered, arrived.messages, arrived.wrong)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
