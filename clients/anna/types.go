package anna

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/payload"
	"errand.internal/internal/secret"
)

// AccessData is a login of one user. Hash opens the user's chat and both URLs
// contain it, so anyone who reads one of the three can act as that user: they
// are returned to the caller and redacted everywhere else.
type AccessData struct {
	Hash        string `json:"Hash"`
	ChatURL     string `json:"ChatURL"`
	EmbeddedURL string `json:"EmbeddedURL"`
	// Expires is the vendor's text, documented as YYYYMMDDhhmmss.
	Expires string `json:"Expires"`
	// ExpiresAt is Expires read as UTC or in the configured zone, whichever is
	// earlier, and zero if it is unreadable. The JSON form does not contain it,
	// because it has the vendor's fields only.
	ExpiresAt time.Time `json:"-"`
}

// String implements fmt.Stringer.
func (AccessData) String() string {
	return secret.Redacted
}

// Format implements fmt.Formatter, so that no verb prints the fields.
func (a AccessData) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(a.String()))
}

// LogValue implements slog.LogValuer.
func (a AccessData) LogValue() slog.Value {
	return slog.StringValue(a.String())
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler; without it zerolog
// would log the JSON form, which is in clear.
func (a AccessData) MarshalZerologObject(e *zerolog.Event) {
	e.Str("access", a.String())
}

// Link opens a user's requests in the messenger. Anyone who has it can read them,
// so it is redacted like AccessData.
type Link struct {
	MessengerLink string `json:"messengerLink"`
}

// String implements fmt.Stringer.
func (Link) String() string {
	return secret.Redacted
}

// Format implements fmt.Formatter, so that no verb prints the field.
func (l Link) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(l.String()))
}

// LogValue implements slog.LogValuer.
func (l Link) LogValue() slog.Value {
	return slog.StringValue(l.String())
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler; without it zerolog
// would log the JSON form, which is in clear.
func (l Link) MarshalZerologObject(e *zerolog.Event) {
	e.Str("link", l.String())
}

// User identifies a user: by UserID, or by both UserDocType and UserDocValue.
type User struct {
	UserID       string `json:"userId,omitempty" validate:"max=256" text:"id" doc:"the user, unless userDocType and userDocValue are given"`
	UserDocType  string `json:"userDocType,omitempty" validate:"max=64" text:"line" clear:"true" doc:"type of the user's document"`
	UserDocValue string `json:"userDocValue,omitempty" validate:"max=256" text:"line" doc:"number of the user's document"`
}

func (u User) complete() bool {
	return u.UserID != "" || (u.UserDocType != "" && u.UserDocValue != "")
}

// Problems returns the rules that u breaks as part of a payload, which must
// identify the user in exactly one way.
func (u User) Problems() []payload.Problem {
	byDocument := u.UserDocType != "" || u.UserDocValue != ""
	switch {
	case u.UserID == "" && !byDocument:
		return []payload.Problem{{Field: "userId", Rule: "is required, or both of userDocType and userDocValue"}}
	case u.UserID != "" && byDocument:
		return []payload.Problem{{
			Field: "userId",
			Rule:  "must not be given together with userDocType or userDocValue",
		}}
	case byDocument && u.UserDocType == "":
		return []payload.Problem{{Field: "userDocType", Rule: "is required with userDocValue"}}
	case byDocument && u.UserDocValue == "":
		return []payload.Problem{{Field: "userDocValue", Rule: "is required with userDocType"}}
	}
	return nil
}

// Filters narrow a messenger query. An empty field does not filter.
type Filters struct {
	DepartmentAlias string `json:"departmentAlias,omitempty" validate:"max=256" text:"line" clear:"true" doc:"alias of a department"`
	ChannelAlias    string `json:"channelAlias,omitempty" validate:"max=256" text:"line" clear:"true" doc:"alias of a channel"`
	DataIni         string `json:"dataIni,omitempty" text:"id" clear:"true" doc:"first date: DD/MM/YYYY, today, today-7d"`
	DataFim         string `json:"dataFim,omitempty" text:"id" clear:"true" doc:"last date: DD/MM/YYYY, today, today-7d"`
	Status          string `json:"status,omitempty" validate:"omitempty,oneof=A E" text:"id" clear:"true" doc:"A: open, E: closed"`
	Pendentes       string `json:"pendentes,omitempty" validate:"omitempty,oneof=S N" text:"id" clear:"true" doc:"S: awaits the user's answer, N: does not"`
}

// Problems returns the rules that f breaks as part of a payload. prefix is the
// path of f in the payload, with a dot at its end.
func (f Filters) Problems(prefix string) []payload.Problem {
	var problems []payload.Problem
	for _, date := range []struct{ name, value string }{
		{"dataIni", f.DataIni},
		{"dataFim", f.DataFim},
	} {
		if _, ok := resolveDate(date.value, time.Time{}); !ok {
			problems = append(problems, payload.Problem{
				Field: prefix + date.name,
				Rule:  "must be DD/MM/YYYY, today, or today-7d",
			})
		}
	}
	return problems
}

// resolveDates returns f with both dates in the vendor's form, as of now. It
// returns false if one of them is invalid.
func (f Filters) resolveDates(now time.Time) (Filters, bool) {
	from, fromOK := resolveDate(f.DataIni, now)
	to, toOK := resolveDate(f.DataFim, now)
	f.DataIni = from
	f.DataFim = to
	return f, fromOK && toOK
}

// dateLayout is DD/MM/YYYY: the vendor's example 31/12/2024 has no 31st month.
const dateLayout = "02/01/2006"

var relativeDate = regexp.MustCompile(`^today(?:-([0-9]{1,4})d)?$`)

// resolveDate returns a date in the vendor's form. A relative date counts from
// now, in now's zone. An empty text stays empty.
func resolveDate(text string, now time.Time) (string, bool) {
	if text == "" {
		return "", true
	}
	if m := relativeDate.FindStringSubmatch(text); m != nil {
		days, _ := strconv.Atoi(m[1]) // "" is 0
		return now.AddDate(0, 0, -days).Format(dateLayout), true
	}
	t, err := time.Parse(dateLayout, text)
	return text, err == nil && t.Format(dateLayout) == text
}

// The requests have the field order and the casing of the vendor's page. Unset
// fields are sent as empty strings, as in its examples.
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
	inactivateRequest struct {
		Hash   string `json:"hash"`
		UserID string `json:"userId"`
	}
	structureRequest struct {
		Hash string `json:"hash"`
	}
	linkRequest struct {
		Hash string `json:"hash"`
		userFields
	}
	messengerRequest struct {
		Hash string `json:"hash"`
		userFields
		Filters filterFields `json:"messengerFilters"`
	}

	// userFields is User without omitempty.
	userFields struct {
		UserID       string `json:"userId"`
		UserDocType  string `json:"userDocType"`
		UserDocValue string `json:"userDocValue"`
	}
	// filterFields is Filters without omitempty.
	filterFields struct {
		DepartmentAlias string `json:"departmentAlias"`
		ChannelAlias    string `json:"channelAlias"`
		DataIni         string `json:"dataIni"`
		DataFim         string `json:"dataFim"`
		Status          string `json:"status"`
		Pendentes       string `json:"pendentes"`
	}
)
