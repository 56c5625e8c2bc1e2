package main

import (
	"strings"

	"github.com/sluicebridge/sluice/bridge/mqtt"
)

// identityMark stands in a client_id for what tells this bridge from others at the same broker: two with one name would throw each
// other out.
const identityMark = "{identity}"

func defaultRemote() mqtt.Config {
	c := mqtt.Default()
	c.ClientID = "sluice-" + identityMark
	return c
}

// clientIDs returns the client identifiers of all remotes, by name, for the ledger of that identity: its first 8 digits are the mark.
// They stay the same as long as the data directory and the remotes do. Where several remotes have the same one with the mark, each
// adds its name.
func clientIDs(remotes map[string]mqtt.Config, identity string) map[string]string {
	ids, users := make(map[string]string), make(map[string]int)
	for _, c := range remotes {
		users[c.ClientID]++
	}
	for name, c := range remotes {
		given := c.ClientID
		id := strings.ReplaceAll(given, identityMark, identity[:min(8, len(identity))])
		if id != given && users[given] > 1 {
			id += "-" + name
		}
		ids[name] = id
	}
	return ids
}
