// Package verify compares, for a period and stream by stream, what the edge store has, what the ledger recorded of it, and what the far end
// has, and names what does not fit by its identity.
//
//	edge store ──times──▶ ┌─────────┐
//	ledger ──verdicts───▶ │ compare │ ──▶ rows by hour, findings, a sentence
//	far end ──arrivals──▶ └─────────┘
//
// Keys that the ledger still has one by one are compared exactly; older ones, of which it has only ranges, by their number and hash. It
// works on a bridge that runs: what differs only because time has passed between two looks is looked at again (second.go).
//
// It imports the standard library and bridge only; who reads a ledger, a store or a file is somebody else's business. Start at Job.Run.
package verify
