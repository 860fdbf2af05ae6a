package anna

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/secret"
)

// AccessData is a login minted for one user. Hash opens the user's chat, and
// both URLs carry it, so whoever reads one of the three is that user: they are
// returned to the caller and redacted everywhere else.
type AccessData struct {
	Hash        string `json:"Hash"`
	ChatURL     string `json:"ChatURL"`
	EmbeddedURL string `json:"EmbeddedURL"`
	// Expires is the vendor's text as it came, documented as YYYYMMDDhhmmss.
	Expires string `json:"Expires"`
	// ExpiresAt is Expires read as UTC or as the configured zone, whichever
	// comes first; zero if it could not be read. It is no part of the JSON form,
	// which has the vendor's fields only.
	ExpiresAt time.Time `json:"-"`
}

// String implements fmt.Stringer.
func (AccessData) String() string {
	return secret.Redacted
}

// Format implements fmt.Formatter, so that no verb reaches the fields.
func (a AccessData) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(a.String()))
}

// LogValue implements slog.LogValuer.
func (a AccessData) LogValue() slog.Value {
	return slog.StringValue(a.String())
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler; without it
// zerolog would log the JSON form, which is the result in clear.
func (a AccessData) MarshalZerologObject(e *zerolog.Event) {
	e.Str("access", a.String())
}

// Link opens a user's requests in the messenger. Whoever has it reads them, so
// it is redacted like AccessData.
type Link struct {
	MessengerLink string `json:"messengerLink"`
}

// String implements fmt.Stringer.
func (Link) String() string {
	return secret.Redacted
}

// Format implements fmt.Formatter, so that no verb reaches the field.
func (l Link) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(l.String()))
}

// LogValue implements slog.LogValuer.
func (l Link) LogValue() slog.Value {
	return slog.StringValue(l.String())
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler; without it
// zerolog would log the JSON form, which is the result in clear.
func (l Link) MarshalZerologObject(e *zerolog.Event) {
	e.Str("link", l.String())
}

// UserQuery says whose link is asked for: UserID, or both of UserDocType and
// UserDocValue.
type UserQuery struct {
	UserID       string
	UserDocType  string
	UserDocValue string
}

func (q UserQuery) names() bool {
	return q.UserID != "" || (q.UserDocType != "" && q.UserDocValue != "")
}

// AlertQuery says whose requests are counted or listed: UserID, or both of
// UserDocType and UserDocValue.
type AlertQuery struct {
	UserID       string
	UserDocType  string
	UserDocValue string
	Filters      Filters
}

// Filters narrow a messenger query; an empty field filters nothing.
type Filters struct {
	DepartmentAlias string `json:"departmentAlias"`
	ChannelAlias    string `json:"channelAlias"`
	// DataIni and DataFim are the first and the last date: DD/MM/YYYY, today, or
	// today-7d.
	DataIni string `json:"dataIni"`
	DataFim string `json:"dataFim"`
	// Status is A (open) or E (closed).
	Status string `json:"status"`
	// Pendentes is S (waits for the user's answer) or N.
	Pendentes string `json:"pendentes"`
}

// The requests, in the order and with the casing of the vendor's page. Fields
// that hold nothing are sent as empty strings, as its examples do.
type (
	loginRequest struct {
		Hash string `json:"hash"`
		User string `json:"user"`
		Pass string `json:"pass"`
	}
	hashRequest struct {
		Hash         string `json:"hash"`
		UserID       string `json:"userId"`
		StartService string `json:"startService"`
	}
	forcedHashRequest struct {
		Hash         string `json:"hash"`
		UserID       string `json:"userId"`
		UserName     string `json:"userName"`
		StartService string `json:"startService"`
	}
	structureRequest struct {
		Hash string `json:"hash"`
	}
	linkRequest struct {
		Hash         string `json:"hash"`
		UserID       string `json:"userId"`
		UserDocType  string `json:"userDocType"`
		UserDocValue string `json:"userDocValue"`
	}
	inactivateRequest struct {
		Hash   string `json:"hash"`
		UserID string `json:"userId"`
	}
	alertRequest struct {
		Hash         string  `json:"hash"`
		UserID       string  `json:"userId"`
		UserDocType  string  `json:"userDocType"`
		UserDocValue string  `json:"userDocValue"`
		Filters      Filters `json:"messengerFilters"`
	}
)

// reply is any answer of the vendor. Every field stays raw until its rule asks
// for it, so that one field of an odd type does not hide the others.
type reply struct {
	status int
	object bool // the body is one whole JSON object

	Success json.RawMessage `json:"success"`
	Message json.RawMessage `json:"message"`

	Data         json.RawMessage `json:"data"`         // GetToken
	AccessData   json.RawMessage `json:"accessData"`   // UserHash, UserHashForced
	AlertCounter json.RawMessage `json:"alertCounter"` // AlertCounter
	Structure    json.RawMessage `json:"structure"`
	UserRequests json.RawMessage `json:"userRequests"`  // Requests
	Link         json.RawMessage `json:"messengerLink"` // Link
}
