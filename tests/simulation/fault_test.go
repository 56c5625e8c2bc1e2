package simulation

// fault breaks something.
func (w *world) fault() {
	if w.calm && w.connecting() {
		return
	}
	w.faults--
	switch w.pick(11) {
	case 0, 1:
		w.fire("crash")
		w.crash()
	case 2, 3:
		w.fire("network cut")
		w.cutClient(w.pick(maxClients))
	case 4:
		w.fire("broker killed")
		w.restartBroker()
	case 5, 6:
		w.fire("sender's connection cut")
		w.cutSender(w.edge.senders[w.pick(len(w.edge.senders))])
	case 7:
		w.fire("edge store killed")
		w.restartEdge()
	case 8:
		w.fire("disk full begins")
		w.disk.full = true
	case 9:
		w.fire("disk hangs")
		w.disk.hangs = true
	case 10:
		w.garble()
	}
	w.carry()
}

// crash kills the bridge: it is there again after a while, perhaps.
func (w *world) crash() {
	if w.gate == nil {
		return
	}
	w.note("CRASH")
	g := w.gate
	w.gate = nil
	w.disk.crash()
	g.abandon()
	for id := range w.broker.clients {
		w.cutClient(id)
	}
	for _, s := range w.edge.senders {
		w.cutSender(s)
	}
	if w.chance(3) {
		return // it is down for a while; see recover
	}
	w.boot(false)
}

// recover ends what does not last: a full disk, a commit that hangs, a bridge that is down. And the broker's autosave.
func (w *world) recover() bool {
	switch {
	case w.gate == nil:
		if !w.chance(6) {
			return false
		}
		w.boot(false)
	case w.disk.hangs && w.chance(12):
		w.note("disk goes on")
		w.disk.hangs = false
	case w.disk.full && w.chance(12):
		w.note("disk has room")
		w.disk.full = false
	case w.stale && w.chance(20):
		w.save()
	default:
		return false
	}
	return true
}

// garble spoils a request on its way: the target must refuse it.
func (w *world) garble() {
	s := w.edge.senders[w.pick(len(w.edge.senders))]
	if s.batch == nil || s.batch.request == nil || s.batch.request.read || s.batch.request.patch {
		w.faults++
		return
	}
	w.fire("request garbled")
	s.batch.request.garbled = true
}

// connecting reports whether a CONNECT is noted or sent whose answer is not noted.
func (w *world) connecting() bool {
	if w.gate != nil && w.gate.pump.step != nil && len(w.gate.pump.step.Notes) > 0 {
		return true
	}
	for id := range w.broker.clients {
		if !w.broker.clients[id].answered {
			return true
		}
	}
	for _, trying := range w.sends.trying {
		if trying {
			return true
		}
	}
	return false
}
