// Package reduct speaks ReductStore: it poses as the target of a replication task, and it asks the edge store for what that task
// forgot.
//
//	ReductStore ──POST …/batch──▶ Target ──▶ Intake.Deliver ──▶ 200, or 503 and the sender keeps the batch
//	     ▲                          │ new connection, noted gap
//	     └──────── queries ──── Reconciler ──▶ Intake.Deliver
//
// The real sender repeats a request only after 429, 502, 503, 504 or when it could not connect; after anything else, a broken connection
// included, it forgets the batch. Every answer here is chosen by that table (DESIGN.md, rule 6).
package reduct
