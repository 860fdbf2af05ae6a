package danaconnect

import (
	"context"
	"encoding/json"
	"strings"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// OTP asks for one code to be made and sent. The names are the vendor's.
type OTP struct {
	// IDConversation is the id of the conversation's activation; activating it
	// again gives a new one.
	IDConversation int64 `json:"idConversation"`
	// Values fill fields of the contact list; together they name the recipient.
	Values []Value `json:"values"`
	// Type is 1 for digits, 2 for digits and letters.
	Type int `json:"type"`
	// Length of the code, 3 to 12.
	Length int `json:"length"`
	// SecondsExpiration is how long the code is good, 1 to 3200.
	SecondsExpiration int `json:"secondsExpiration"`
	// MaximumTries is how many wrong codes are forgiven; 0 leaves it to the
	// vendor (5).
	MaximumTries int `json:"maximumTries,omitempty"`
}

// Value is one field of the contact list.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Sent is a code accepted for sending, which is not yet a code delivered.
type Sent struct {
	// IDRequest names the code in VerifyOTP. It is digits, kept as text.
	IDRequest string
	// ConversationRequestID tracks the message on the vendor's platform; it may
	// be empty.
	ConversationRequestID string
}

// Verification asks whether a person typed the right code.
type Verification struct {
	IDRequest string
	OTP       secret.String
}

// Verified is the vendor's word on a code.
type Verified struct {
	Verdict Verdict
}

// OTPClient calls the OTP API. It is safe for concurrent use.
type OTPClient struct {
	base     clients.BaseURL
	login    string
	password secret.String
	gate     tokens.Gate
	caller   *clients.Caller
}

// NewOTP makes the client of one account. gate guards its password; caller
// carries the requests, in a dry run to nowhere. A bad config is refused with
// the names of all variables at fault.
func NewOTP(cfg OTPConfig, gate tokens.Gate, caller *clients.Caller) (*OTPClient, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := cfg.baseURL()
	if err != nil {
		return nil, err
	}
	return &OTPClient{
		base:     base,
		login:    cfg.login(),
		password: cfg.Password,
		gate:     gate,
		caller:   caller,
	}, nil
}

// SendOTP has a code made and sent. It calls once; the error is always a
// *clients.Error. Sending twice sends two codes, so Unknown must not be retried
// blindly.
func (c *OTPClient) SendOTP(ctx context.Context, m OTP) (Sent, error) {
	if m.Values == nil {
		m.Values = []Value{} // [] and not null: the vendor's page promises an array
	}
	got, err := c.post(ctx, OpSend, "send", m)
	if err != nil {
		return Sent{}, err
	}
	id := strings.TrimSpace(string(got.reply.IDRequest))
	if !isID(id) {
		return Sent{}, &clients.Error{
			Vendor:  Vendor,
			Op:      OpSend,
			Kind:    clients.Unknown,
			Status:  got.status,
			Code:    got.reply.ResponseCode.Code(),
			Message: "the code was accepted for sending, but without a usable idRequest it can never be verified",
		}
	}
	return Sent{
		IDRequest:             id,
		ConversationRequestID: string(got.reply.ConversationRequestID),
	}, nil
}

// VerifyOTP asks whether the code is right. Verdict is also set when the error
// is Declined. A wrong code spends an attempt and a right one is used up, so a
// call that may have arrived must not be repeated blindly: Used may then be the
// echo of our own success.
func (c *OTPClient) VerifyOTP(ctx context.Context, v Verification) (Verified, error) {
	if !isID(v.IDRequest) {
		return Verified{}, &clients.Error{
			Vendor:  Vendor,
			Op:      OpVerify,
			Kind:    clients.Invalid,
			NotSent: true,
			Message: "idRequest must be a whole number as send returned it",
		}
	}
	got, err := c.post(ctx, OpVerify, "verify", struct {
		IDRequest json.Number `json:"idRequest"` // an integer on the wire
		OTP       string      `json:"otp"`       // text, so that 004217 keeps its zeros
	}{json.Number(v.IDRequest), v.OTP.Reveal()})
	if id := strings.TrimSpace(string(got.reply.IDRequest)); got.verdict != None &&
		isID(id) &&
		id != v.IDRequest {
		return Verified{}, &clients.Error{
			Vendor:  Vendor,
			Op:      OpVerify,
			Kind:    clients.Unknown,
			Status:  got.status,
			Code:    got.reply.ResponseCode.Code(),
			Message: "the answer speaks of another idRequest",
		}
	}
	return Verified{Verdict: got.verdict}, err
}

// isID reports whether id can be sent as a JSON integer and name a request.
func isID(id string) bool {
	return id != "" && len(id) <= 19 && id[0] != '0' &&
		strings.Trim(id, "0123456789") == ""
}
