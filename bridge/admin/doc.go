// Package admin lets people and machines look at a running bridge over HTTP: a page with live figures (/), its data as JSON (/statusz),
// Prometheus metrics (/metrics), and whether the process lives (/healthz) and works (/readyz). Nothing can be changed through it.
//
// Counters are read from bridge.Metrics; everything else comes as a Status from whoever put the bridge together. Start reading at
// server.go.
package admin
