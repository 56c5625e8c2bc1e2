package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func runRun(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("run")
	path := configFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before open, which may take a while: the signal would end the process
	defer signal.Stop(hangups)
	g, err := open(ctx, *path, e.log)
	if err != nil {
		return err
	}
	defer g.close()
	e.log.Info("running", "version", version, "configuration", g.file.hash(), "page", g.page())
	defer context.AfterFunc(ctx, func() {
		e.log.Info("stopping: senders are told to go, what is in flight may be answered; 5 s each at most, a second signal ends it at once")
	})()
	err = g.run(ctx, part{"reload", func(ctx context.Context) error { return g.reloadOn(ctx, hangups) }})
	if err != nil {
		return err
	}
	e.log.Info("stopped")
	return nil
}

// reloadOn loads the configuration anew at each signal. A refused one changes nothing, and is said on the log and in the metrics.
func (g *gate) reloadOn(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
		}
		err := g.reload(ctx)
		g.reloadFailed.Store(err != nil)
		if err != nil {
			g.log.Error("reload refused, everything goes on as before", "error", err)
			continue
		}
		g.log.Info("reloaded", "configuration", g.current().hash())
	}
}
