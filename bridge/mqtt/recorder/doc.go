// Package recorder is a subscriber that writes down what arrives, for `sluice verify`: one line a message, durable before the broker is told
// that it came, in the order of arrival. The file is also the receive state of its session, so that kill -9 makes it miss no delivery and
// write none twice. Start at the format in line.go, then session.go, which is all there is of the protocol.
//
// It has a small loop of its own over paho's packets: paho.Client answers PUBREL by itself, and a PUBREL that is answered before it is
// durable lets the broker use a packet identifier anew that the file still shows as open.
package recorder
