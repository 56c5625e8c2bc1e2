package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/ledger"
)

// Exit codes. Scripts rely on them.
const (
	exitOK          = 0
	exitRuntime     = 1
	exitUsage       = 2
	exitDifferences = 3 // reconcile, verify or module test found some
	exitConfig      = 78
)

// errDifferences: what is wrong has been printed.
var errDifferences = errors.New("differences found")

// command is one of the program's commands. A name of two words is given as two arguments.
type command struct {
	name, args, about string
	run               func(ctx context.Context, e *environment, args []string) error
}

func commands() []command {
	return []command{
		{"run", "", "run the bridge until SIGTERM or SIGINT; SIGHUP takes over changed tables of modules", runRun},
		{"check", "", "load the configuration and the modules, try each with a record, and say what would go wrong", runCheck},
		{"status", "", "show what a running bridge does", runStatus},
		{"reconcile", "", "have a running bridge compare with its edge stores, now, and fetch what is missing", runReconcile},
		{"verify", "", "compare what the edge store has, the ledger recorded and the far end got", runVerify},
		{"record mqtt", "", "write down what arrives at an MQTT broker, for verify", runRecord},
		{"module new", "", "begin a module in Go, Rust, C, AssemblyScript or JavaScript", runModuleNew},
		{"module build", "", "build the module in a directory", runModuleBuild},
		{"module test", "", "run a module over files of records and compare", runModuleTest},
		{"module inspect", "", "tell what a module can see, calls and costs", runModuleInspect},
		{"module bench", "", "measure what a record costs, against the version before", runModuleBench},
		{"module trace", "", "show what happens to one record", runModuleTrace},
		{"module record", "", "save records of a ReductStore as a file of records", runModuleRecord},
		{"module push", "", "write a module into a ReductStore, for reduct:// paths", runModulePush},
		{"module keygen", "", "make a key that signs modules", runModuleKeygen},
		{"module rollback", "", "have a running bridge bring back the module before the last swap", runModuleRollback},
		{"module sign", "", "sign modules and scripts", runModuleSign},
		{"config example", "", "print a configuration with every key explained", runConfigExample},
		{"config schema", "", "print the configuration's JSON schema", runConfigSchema},
		{"config print", "", "print the configuration in effect, without its secrets", runConfigPrint},
		{"simulate vibration", "", "simulate a machine full of vibration sensors and the ReductStore beside it", runSimulate},
		{"demo", "", "a simulated site, an embedded broker and the bridge between them", runDemo},
		{"version", "", "print the version", runVersion},
	}
}

// environment is what a command may use of the world outside.
type environment struct {
	out io.Writer // results, for machines with --json
	err io.Writer // logs and complaints
	log *slog.Logger
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// run finds the command and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	e := &environment{out: stdout, err: stderr, log: slog.New(slog.NewTextHandler(stderr, nil))}
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		fmt.Fprint(stdout, usage())
		return exitOK
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) < len(words) || strings.Join(args[:len(words)], " ") != c.name {
			continue
		}
		return exitCode(c.run(ctx, e, args[len(words):]), stderr)
	}
	if len(args) > 0 {
		fmt.Fprintf(stderr, "sluice: no command %q\n\n", strings.Join(args, " "))
	}
	fmt.Fprint(stderr, usage())
	return exitUsage
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: sluice COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-20s %s\n", c.name, c.about)
	}
	b.WriteString("\nsluice COMMAND --help lists the flags.\n")
	return b.String()
}

// exitCode says an error once, where it ends.
func exitCode(err error, stderr io.Writer) int {
	var wrong usageError
	var problems config.Problems
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errDifferences): // it is on stdout
		return exitDifferences
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "sluice: %v\n", err)
		return exitUsage
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, err)
		return exitConfig
	case errors.Is(err, ledger.ErrUnrouted):
		fmt.Fprintf(stderr, "sluice: %v\n", err)
		return exitConfig
	default:
		fmt.Fprintf(stderr, "sluice: %v\n", err)
		return exitRuntime
	}
}

// flags makes a command's flag set; its help goes where complaints go.
func (e *environment) flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet("sluice "+name, flag.ContinueOnError)
	fs.SetOutput(e.err)
	return fs
}

// parse reads the flags of a command that takes no further arguments.
func parse(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil: // the flag set has shown the flags
		return usageError{err.Error()}
	case fs.NArg() > 0:
		return usageError{fmt.Sprintf("%s: unexpected argument %q", fs.Name(), fs.Arg(0))}
	}
	return nil
}

func configFlag(fs *flag.FlagSet) *string {
	return fs.String("config", "config.toml", "configuration `FILE`")
}

// secretOf reads the secret in the file that a flag names; empty where it names none.
func secretOf(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	secret, err := config.ReadSecret(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return secret, nil
}

func jsonFlag(fs *flag.FlagSet) *bool { return fs.Bool("json", false, "print JSON") }

// printJSON writes a result for machines.
func (e *environment) printJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
