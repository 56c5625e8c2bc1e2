// Package host runs guests: WebAssembly modules that decide what becomes of a record. It loads and meters them, keeps instances, and folds
// a batch through a pipeline's modules (bridge.Chain). The border itself is package abi; DESIGN.md tells the life of a batch.
//
// Every call of a guest is bounded in time (units), memory and output. An instance that failed in any way never serves again (rule 4 of
// INVARIANTS.md), and no guest can stop the process (rule 17).
package host
