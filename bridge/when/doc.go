// Package when is ReductStore's conditional query, compiled to closures: the pipeline key `when`, with the answers that the store gives.
//
//	text ──Parse──▶ Condition ──Stage──▶ records that pass ──▶ modules
//	                                └──▶ state: counters, window, held records ──▶ the same Append
//
// It imports bridge only. Start at Parse and Stage.Apply; DESIGN.md has the semantics that are easily got wrong, what is held for #ctx_before,
// and where it leaves the store's ways.
package when
