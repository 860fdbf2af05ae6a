// Package otp calls DANAConnect's OTP API, which sends and verifies one-time
// passwords:
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
package otp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
)

// Client calls the OTP API. It is safe for concurrent use. Its errors are
// *clients.Error.
type Client struct {
	base   clients.BaseURL
	caller *danaconnect.BasicCaller
}

// New returns the client of one account. gate guards the account's password, and
// contacts.New takes the same one; caller carries the requests. An invalid cfg is
// refused with an error that names every invalid variable.
func New(cfg danaconnect.BasicConfig, gate admission.Gate, caller *clients.Caller) (*Client, error) {
	basic, err := danaconnect.NewBasicCaller(cfg, gate, caller)
	if err != nil {
		return nil, err
	}
	base, err := cfg.OTPBase()
	if err != nil {
		return nil, err
	}
	return &Client{
		base:   base,
		caller: basic,
	}, nil
}

// Send has a code made and sent, in one call. Sending twice sends two codes, so
// Unknown must not be retried blindly.
func (c *Client) Send(ctx context.Context, m Message) (Sent, error) {
	if m.Values == nil {
		m.Values = Values{} // the vendor's page demands an array: [] instead of null
	}
	if m.SecondsExpiration == nil {
		m.SecondsExpiration = new(DefaultSecondsExpiration)
	}
	got, err := c.post(ctx, OpSend, "send", m)
	if err != nil {
		return Sent{}, err
	}
	id := strings.TrimSpace(string(got.reply.IDRequest))
	if !danaconnect.IsID(id) {
		return Sent{}, got.unknown(
			OpSend,
			"the code was accepted for sending, but without a usable idRequest it can never be verified",
		)
	}
	return Sent{
		IDRequest:             id,
		ConversationRequestID: string(got.reply.ConversationRequestID),
	}, nil
}

// Verify asks whether the code is right. The Verdict is also set if the error is
// Declined. A wrong code spends an attempt and a right one is used up, so a call
// that may have arrived must not be repeated blindly: Used may then be the echo
// of our own success.
func (c *Client) Verify(ctx context.Context, v Verification) (Verified, error) {
	if !danaconnect.IsID(v.IDRequest) {
		return Verified{}, clients.InvalidRequest(
			danaconnect.Vendor,
			OpVerify,
			"idRequest must be a whole number as send returned it",
		)
	}
	got, err := c.post(ctx, OpVerify, "verify", struct {
		IDRequest json.Number `json:"idRequest"` // an integer on the wire
		OTP       string      `json:"otp"`       // text, so that 004217 keeps its zeros
	}{json.Number(v.IDRequest), v.OTP.Reveal()})
	id := strings.TrimSpace(string(got.reply.IDRequest))
	if got.verdict != None && danaconnect.IsID(id) && id != v.IDRequest {
		return Verified{}, got.unknown(OpVerify, "the answer speaks of another idRequest")
	}
	return Verified{Verdict: got.verdict}, err
}

// post makes one call and reads its answer.
func (c *Client) post(ctx context.Context, op, path string, payload any) (reading, error) {
	req, err := c.request(ctx, op, path, payload)
	if err != nil {
		return reading{}, err
	}
	var got reading
	err = c.caller.Do(ctx, op, req, func(a *clients.Answer) (admission.Verdict, error) {
		var readErr error
		got, readErr = read(op, a)
		return got.login, readErr
	})
	return got, err
}

// request builds the request. Its errors quote nothing of the payload.
func (c *Client) request(ctx context.Context, op, path string, payload any) (*http.Request, error) {
	body, err := clients.EncodeJSON(payload)
	if err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, op, "the request cannot be written as JSON")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.Join(path), bytes.NewReader(body))
	if err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, op, "the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	return req, nil
}
