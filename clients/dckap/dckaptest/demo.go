package dckaptest

import (
	"encoding/json"

	"errand.internal/clients/sandbox"
)

// DemoOrders is the listener of a demo's pipe that answers with an order.
const DemoOrders = "64f1c0de0002"

// Demo returns a sandbox with pipes. canary, if it is not empty, is part of every
// secret.
func Demo(canary string) sandbox.Vendor {
	o := Options{
		Pipes: map[string]Pipe{
			DemoOrders: {Answer: json.RawMessage(`{"data":{"orderId":"1001"}}`)},
		},
	}
	if canary != "" {
		o.Token = canary + "token"
	}
	return New(o)
}

// Path implements sandbox.Vendor.
func (s *Sandbox) Path() string {
	return Mount
}

// Environ implements sandbox.Vendor.
func (s *Sandbox) Environ(base string) map[string]string {
	return map[string]string{
		"DCKAP_URL":   base + Mount + ListenerPath,
		"DCKAP_TOKEN": s.opts.Token,
	}
}
