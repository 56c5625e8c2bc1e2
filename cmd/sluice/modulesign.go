package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/runtime/host/sign"
)

const moduleKeygenHelp = `usage: sluice module keygen --into NAME

Makes a key: NAME.key signs and stays with whoever releases modules, NAME.pub is for [modules.X] trust = "NAME.pub" where they run.

`

func runModuleKeygen(_ context.Context, e *environment, args []string) error {
	fs := e.flags("module keygen")
	fs.Usage = func() { fmt.Fprint(e.err, moduleKeygenHelp); fs.PrintDefaults() }
	into := fs.String("into", "", "`NAME` of the two files; what is there is never written over")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *into == "" {
		return usageError{"module keygen: want --into NAME"}
	}
	key, err := sign.Generate()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if err := writeNew(*into+".key", key.Text(), 0o600); err != nil {
		return err
	}
	if err := writeNew(*into+".pub", key.Public().Text(), 0o644); err != nil {
		return errors.Join(err, os.Remove(*into+".key"))
	}
	_, err = fmt.Fprintf(e.out, "%s.key signs, keep it where no bridge runs; %s.pub is what to trust (key %s)\n", *into, *into, key.Public().IDs()[0])
	return err
}

// writeNew makes a file that was not there.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

const moduleSignHelp = `usage: sluice module sign --key NAME.key FILE ...

Signs modules or scripts: FILE.sig beside each, one line of text. With trust = "NAME.pub" the bridge takes FILE only as it is now.

`

func runModuleSign(_ context.Context, e *environment, args []string) error {
	fs := e.flags("module sign")
	fs.Usage = func() { fmt.Fprint(e.err, moduleSignHelp); fs.PrintDefaults() }
	from := fs.String("key", "", "`FILE` that module keygen made")
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if *from == "" || len(files) == 0 {
		return usageError{"module sign: want --key and a file"}
	}
	key, err := readKey(*from)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := config.ReadFile(file, host.MaxModule)
		if err != nil {
			return err
		}
		if err := replaceFile(file+host.SignatureSuffix, signed(key, text)); err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s%s: signed with %s\n", file, host.SignatureSuffix, key.Public().IDs()[0])
	}
	return nil
}

func readKey(path string) (sign.Private, error) {
	text, err := config.ReadFile(path, sign.MaxText)
	if err != nil {
		return sign.Private{}, fmt.Errorf("key: %w", err)
	}
	key, err := sign.ParsePrivate(text)
	if err != nil {
		return key, fmt.Errorf("key %s: %w", path, err)
	}
	return key, nil
}

// signed is the signature of a file that holds text.
func signed(key sign.Private, text string) string { return key.Sign(sha256.Sum256([]byte(text))) }
