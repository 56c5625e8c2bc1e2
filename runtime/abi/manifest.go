package abi

// Manifest is what a guest says of itself: the TOML of the section ManifestSection, or what sluice_describe returns. Keys the host does not
// know are refused, so that a module is never run by a host that would ignore half of what it asks for.
type Manifest struct {
	ABI          int      `toml:"abi"`           // 1
	Name         string   `toml:"name"`          // such as "stable-speed"
	Version      string   `toml:"version"`       // for people; empty = not said
	About        string   `toml:"about"`         // one line for people
	Labels       []string `toml:"labels"`        // what goes into the slots, in their order; ["*"] = all, as pairs; none = no labels
	Payload      string   `toml:"payload"`       // none (default) | head:N | full | pull: by the import payload only
	OutputsMax   int      `toml:"outputs_max"`   // most outputs of one record; default 16
	State        string   `toml:"state"`         // none (default) | explicit: sluice_save and sluice_load
	StateVersion uint32   `toml:"state_version"` // state of another version is not loaded
	Tick         string   `toml:"tick"`          // such as "10s": flush is called that often between batches; empty = never
	Reasons      []string `toml:"reasons"`       // names of the reasons that DROP gives by number, from 0
	Config       []Key    `toml:"config"`        // what the config takes; none declared = anything goes
}

// Key is one key of a guest's config.
type Key struct {
	Name     string `toml:"name"`
	Type     string `toml:"type"`     // string | int | float | bool | array | table
	Default  any    `toml:"default"`  // filled in by the host where the key is not set
	Required bool   `toml:"required"` // refused where it is not set
	Help     string `toml:"help"`
}

// Defaults and choices of a manifest.
const (
	DefaultOutputsMax = 16
	AllLabels         = "*"
	PayloadNone       = "none"
	PayloadHead       = "head:" // followed by a number of bytes
	PayloadFull       = "full"
	PayloadPull       = "pull"
	StateNone         = "none"
	StateExplicit     = "explicit"
)

// KeyTypes are the values Key.Type may have.
var KeyTypes = [...]string{"string", "int", "float", "bool", "array", "table"}

// Normal fills in what was left out.
func (m *Manifest) Normal() {
	if m.OutputsMax == 0 {
		m.OutputsMax = DefaultOutputsMax
	}
	if m.Payload == "" {
		m.Payload = PayloadNone
	}
	if m.State == "" {
		m.State = StateNone
	}
}

// PayloadBytes is how much of a payload goes along with each record: 0, N of head:N, or -1 = all of it. ok is false where Payload is none
// of the known forms.
func (m *Manifest) PayloadBytes() (n int, ok bool) {
	switch m.Payload {
	case PayloadNone, PayloadPull:
		return 0, true
	case PayloadFull:
		return -1, true
	}
	if len(m.Payload) <= len(PayloadHead) || m.Payload[:len(PayloadHead)] != PayloadHead {
		return 0, false
	}
	for _, c := range []byte(m.Payload[len(PayloadHead):]) {
		if c < '0' || c > '9' || n > MaxAddress {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n > 0
}

// Validate lists what is wrong with m, nil if nothing is. Call Normal first.
func (m *Manifest) Validate() []string {
	var bad []string
	add := func(wrong bool, what string) {
		if wrong {
			bad = append(bad, what)
		}
	}
	add(m.ABI != Version, "abi: want 1")
	add(m.Name == "", "name: missing")
	add(m.OutputsMax < 1 || m.OutputsMax > MaxOutputs, "outputs_max: want 1..65535")
	add(m.State != StateNone && m.State != StateExplicit, "state: "+m.State+", want none or explicit")
	add(m.Tick != "" && m.State != StateExplicit, "tick: "+m.Tick+", want state = \"explicit\": what is held back between batches must be in the state")
	add(len(m.Labels) > MaxSlots, "labels: more than 1024")
	add(len(m.Reasons) > MaxReasons, "reasons: more than 256")
	_, ok := m.PayloadBytes()
	add(!ok, "payload: "+m.Payload+", want none, head:N, full or pull")
	for _, l := range m.Labels {
		add(l == "" || l == AllLabels && len(m.Labels) > 1, `labels: an empty name, or "*" beside others`)
	}
	for _, k := range m.Config {
		add(k.Name == "" || !known(k.Type), "config: key "+k.Name+" of type "+k.Type+", want a name and string, int, float, bool, array or table")
	}
	return bad
}

func known(t string) bool {
	for _, k := range KeyTypes {
		if k == t {
			return true
		}
	}
	return false
}
