// Package session is the sending side of MQTT with exactly-once, as a step machine: events in, effects out. It has no goroutine, no
// clock and no I/O, so that the same code runs in production and under a simulation that chooses every interleaving from a seed.
//
//	          Offer, Ready, Accepted, Packet, Lost, …
//	                           │
//	Step ──▶ durable ──▶ Done  ▼
//	  ▲                    ┌─────────┐
//	  └──── acks, notes,   │ Machine │ ──▶ Frames: CONNECT, PUBLISH, PUBREL, …
//	        claims         └─────────┘
//
// # Who calls what
//
// One goroutine owns a Machine. After any event it asks Step for what is to be made durable (at most one Step is out; the caller tries a
// failed commit again with the same Step, or ends) and Frames for what may be sent. Frames of a connection must go out in the order
// they are given. A frame counts as sent once it was given, whether the network took it or not.
//
// A connection lives like this:
//
//	Ready      the network connection is there (TCP, TLS); nothing was sent on it
//	           → Frame Connect, perhaps only after a Step that notes "trying" (rule 14)
//	Accepted   CONNACK below 0x80 → perhaps a Step that notes "kept" or "lost" → resumed frames in claim order, then new work
//	Rejected   CONNACK from 0x80 on: the broker has answered, its session is as it was
//	Packet     PUBACK, PUBREC, PUBCOMP
//	Refuse     a PUBLISH frame that cannot be sent (too large, no valid topic)
//	Lost       the network connection is gone, at any moment; Ready again for the next. See Suspects for whom to blame
//	Distrust   the session at the broker cannot be ours any more (taken over): as Lost, and what is open is sent again, marked
//
// Frame Drop asks the caller to end a network connection; Frame Erase to end it and the session with it (DISCONNECT with expiry 0). Both
// are answered by Lost.
//
// A crash is: throw the Machine away, make a new one, Restore what the outbox remembers, Offer the rows again.
//
// With Config.Live the caller says Anew at an Accepted before which no connection was up, and offers the rows again: see live.go.
//
// QoS 0 is played as QoS 1 whose PUBACK is the caller's word that the frame was written.
package session
