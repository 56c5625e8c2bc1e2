package main

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/bridge/config"
)

// example is config.toml at the top of the repository, to the byte; a test compares them.
//
//go:embed example.toml
var example string

func runConfigExample(_ context.Context, e *environment, args []string) error {
	if err := parse(e.flags("config example"), args); err != nil {
		return err
	}
	_, err := fmt.Fprint(e.out, example)
	return err
}

func runConfigSchema(_ context.Context, e *environment, args []string) error {
	if err := parse(e.flags("config schema"), args); err != nil {
		return err
	}
	f := defaultFile()
	return e.printJSON(config.Schema(&f, fileOptions(), descriptions(example)))
}

func runConfigPrint(_ context.Context, e *environment, args []string) error {
	fs := e.flags("config print")
	path, asJSON := configFlag(fs), jsonFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := loadConfig(*path)
	if err != nil {
		return err
	}
	if *asJSON {
		return e.printJSON(config.Plain(f))
	}
	enc := toml.NewEncoder(e.out)
	enc.Indent = ""
	return enc.Encode(config.Plain(f))
}

var (
	tableLine = regexp.MustCompile(`^(?:# )?\[([A-Za-z0-9_.-]+)\]`)
	keyLine   = regexp.MustCompile(`^(?:# )?([a-z0-9_]+) *= `)
	mapName   = regexp.MustCompile(`^(inputs\.[a-z]+|remotes\.[a-z]+|modules|pipelines)\.[A-Za-z0-9_-]+`)
)

// descriptions reads the example: the ## lines above a key or table are its description, "*" stands for the names it has there.
func descriptions(text string) map[string]string {
	about := make(map[string]string)
	var table string
	var above []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key := ""
		if words, ok := strings.CutPrefix(line, "##"); ok {
			above = append(above, strings.TrimSpace(words))
			continue
		}
		if m := tableLine.FindStringSubmatch(line); m != nil {
			table = mapName.ReplaceAllString(m[1], "$1.*")
			key = table
		} else if m := keyLine.FindStringSubmatch(line); m != nil {
			key = strings.TrimPrefix(table+"."+m[1], ".")
		}
		if words := strings.Join(above, " "); key != "" && words != "" && about[key] == "" {
			about[key] = words
		}
		above = nil
	}
	return about
}
