// Package bridge is the domain of Sluice: what a record, a message and an outcome are, and the two short loops that
// carry them.
//
//	input ──Batch──▶ Intake.Deliver: fresh? → modules → Ledger.Append ──▶ nil = "it is ours now"
//	                                                         │
//	remote ◀──frames── Pump.Run:  rows → Step (claims, acknowledgements) → Outbox.Commit → send
//
// A batch is taken in whole: the intake asks the ledger which records are new, lets the pipeline's modules decide on
// those, and appends what they made together with the keys, the verdicts and the modules' state in one durable write.
// Only then is the sender answered. Nothing travels backwards but return values: a failed Append is an error, an error
// is a 503, and a 503 leaves the batch with its sender.
//
// On the way out a pump reads the same rows, claims what may go now, commits the claims together with the
// acknowledgements that came in meanwhile, and only then sends. A restart finds the claims and goes on with them: restart, retry
// and normal work are the same code.
//
// The package imports the standard library only. Everything else in the tree imports it, and no sibling (the star is
// kept by tests/layout_test.go). Start reading at intake.go and pump.go; the rules are in INVARIANTS.md.
package bridge
