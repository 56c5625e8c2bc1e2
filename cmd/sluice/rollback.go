package main

import (
	"context"
	"fmt"

	"github.com/sluicebridge/sluice/bridge/admin"
)

// runModuleRollback asks a running bridge for the module before.
func runModuleRollback(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module rollback")
	file, asJSON := configFlag(fs), jsonFlag(fs)
	url := fs.String("url", "", "address of the running bridge's page; empty: [admin] listen of the configuration")
	names, err := parseMixed(fs, args)
	switch {
	case err != nil:
		return err
	case len(names) != 1:
		return usageError{"module rollback: want the NAME of one module"}
	}
	base, err := bridgeOf(*file, *url)
	if err != nil {
		return err
	}
	var answer admin.RollbackAnswer
	if err := ask(ctx, base+"/rollback", admin.RollbackRequest{Module: names[0]}, &answer); err != nil {
		return err
	}
	if *asJSON {
		return e.printJSON(answer)
	}
	_, err = fmt.Fprintf(e.out, "module %s is %.12s again, %.12s is out; the next start loads what the file holds then\n", names[0], answer.SHA256, answer.Was)
	return err
}
