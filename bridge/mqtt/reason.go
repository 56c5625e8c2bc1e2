package mqtt

import "fmt"

// reasons are MQTT 5's names of its reason codes (2.4) as far as a sender can meet them.
var reasons = map[byte]string{
	0x00: "success", 0x10: "no matching subscribers",
	0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x83: "implementation specific error",
	0x84: "unsupported protocol version", 0x85: "client identifier not valid", 0x86: "bad user name or password", 0x87: "not authorized",
	0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned", 0x8B: "server shutting down", 0x8C: "bad authentication method",
	0x8D: "keep alive timeout", 0x8E: "session taken over", 0x90: "topic name invalid", 0x91: "packet identifier in use",
	0x92: "packet identifier not found", 0x93: "receive maximum exceeded", 0x94: "topic alias invalid", 0x95: "packet too large",
	0x96: "message rate too high", 0x97: "quota exceeded", 0x98: "administrative action", 0x99: "payload format invalid",
	0x9A: "retain not supported", 0x9B: "QoS not supported", 0x9C: "use another server", 0x9D: "server moved",
	0x9F: "connection rate exceeded", 0xA0: "maximum connect time",
}

// reasonText is a code for people, with the broker's own words where it gave some.
func reasonText(code byte, said string) string {
	name := reasons[code]
	if name == "" {
		name = "unknown reason"
	}
	if said == "" {
		return fmt.Sprintf("%s (0x%02X)", name, code)
	}
	return fmt.Sprintf("%s (0x%02X): %q", name, code, said[:min(len(said), 500)])
}

// denies reports a refusal of the client itself.
func denies(code byte) bool {
	switch code {
	case 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9A, 0x9B, 0x9C, 0x9D:
		return true
	}
	return false
}
