package host

import (
	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// maxTime keeps times that a module sets where differences of two of them still fit an int64.
const maxTime = 1 << 61

// emit puts the outputs of an EMIT behind the module. All bytes are copied out of the guest. On error s.next may hold some of them.
func (s *stage) emit(it *item, e abi.Entry) error {
	if int(e.Reason) > s.manifest.OutputsMax {
		return lie(abi.ExportProcess, "%d outputs of one record, the manifest says at most %d", e.Reason, s.manifest.OutputsMax)
	}
	if n := len(s.next) - s.first + int(e.Reason); n > abi.MaxOutputs {
		return lie(abi.ExportProcess, "the record becomes %d messages here, at most %d can be told apart", n, abi.MaxOutputs)
	}
	body := e.Body
	for range e.Reason {
		o, rest, err := abi.ReadOutput(body)
		if err != nil {
			return &fault{doing: abi.ExportProcess, err: err}
		}
		body = rest
		s.next = append(s.next, item{Message: it.Message, from: it.from})
		if err := s.output(&s.next[len(s.next)-1].Message, &o); err != nil {
			return err
		}
	}
	if len(body) > 0 {
		return lie(abi.ExportProcess, "%d bytes follow the last of %d outputs", len(body), e.Reason)
	}
	return nil
}

// output applies the changes of o to m, which is the record yet.
func (s *stage) output(m *bridge.Message, o *abi.Output) error {
	if s.planned(m, o) {
		return nil
	}
	var op abi.Op
	payload, body := m.Payload, o.Body
	own, others := false, 0 // whether m's labels are in s.labels; ops that are not of labels
	for range o.Ops {
		if err := o.Next(&op); err != nil {
			return &fault{doing: abi.ExportProcess, err: err}
		}
		switch op.Code {
		case abi.SetLabel, abi.DeleteLabel, abi.ClearLabels, abi.RenameLabel:
			if !own {
				s.own(m.Labels)
				own = true
			}
			s.change(&op)
		default:
			others++
			if err := s.set(m, &op, payload); err != nil {
				return err
			}
		}
	}
	if len(o.Body) > 0 {
		return lie(abi.ExportProcess, "%d bytes follow the last of %d ops", len(o.Body), o.Ops)
	}
	if own {
		s.compact()
		m.Labels = s.out.CopyLabels(s.labels)
		if others == 0 && len(body) <= maxPlan {
			s.remember(body, o.Ops, m.Labels)
		}
	}
	return nil
}

// set applies an op that is not of labels to m, which was made of a record with that payload.
func (s *stage) set(m *bridge.Message, op *abi.Op, payload []byte) error {
	switch op.Code {
	case abi.SetTopic:
		m.Topic = s.out.Copy(op.Value)
	case abi.SetType:
		m.ContentType = s.out.Copy(op.Value)
	case abi.SetPayload:
		m.Payload = s.out.Copy(op.Value)
	case abi.CutPayload:
		part, ok := op.Cut(payload)
		if !ok {
			return lie(abi.ExportProcess, "a part outside the payload of %d bytes", len(payload))
		}
		m.Payload = part
	case abi.SetTime:
		t := op.Time()
		if t <= -maxTime || t >= maxTime {
			return lie(abi.ExportProcess, "time %d, want less than 1<<61", t)
		}
		m.Shift += t - m.Time
		m.Time = t
	}
	return nil
}

// emitMasked puts the record behind the module with only the labels of the slots in mask.
func (s *stage) emitMasked(it *item, mask uint32) error {
	if n := len(s.maskNames); s.allLabels || n < 32 && mask>>n != 0 {
		return lie(abi.ExportProcess, "mask %#x, but the manifest declares %d labels", mask, len(s.maskNames))
	}
	s.labels = s.labels[:0]
	for _, l := range it.Labels {
		for i, name := range s.maskNames {
			if mask>>i&1 != 0 && string(name) == string(l.Name) {
				s.labels = append(s.labels, l)
			}
		}
	}
	made := it.Message
	made.Labels = s.out.CopyLabels(s.labels)
	s.next = append(s.next, item{Message: made, from: it.from})
	return nil
}
