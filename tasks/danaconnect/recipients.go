package danaconnect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// recipientSettings say what identifies a recipient of passcodes, and how many one
// recipient may get. The variables begin with OTP_RECIPIENT_.
type recipientSettings struct {
	// Fields are the keys of a payload's values that together identify the recipient.
	// Unset: all of them.
	Fields recipientFields `env:"FIELDS" doc:"Keys of values in danaconnect:otp:send that together name the recipient: COD1_EMAIL[,...]. Unset: all values together."`
	// Limit is how many passcodes one recipient may get. Unset: no limit.
	Limit settings.Rate `env:"LIMIT" doc:"Most passcodes for one recipient in a span of time, as N/duration; 5/10m is a good one. The next one is declined. Unset: no limit."`
}

// recipientFields are keys of values.
type recipientFields []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *recipientFields) UnmarshalText(text []byte) error {
	var fields []string
	for _, field := range strings.Split(string(text), ",") {
		field = strings.TrimSpace(field)
		switch {
		case field == "":
			return errors.New("must be field names, separated by commas")
		case slices.Contains(fields, field):
			return fmt.Errorf("names the field %s twice", field)
		}
		fields = append(fields, field)
	}
	*f = fields
	return nil
}

// String is the form that UnmarshalText reads.
func (f recipientFields) String() string {
	return strings.Join(f, ",")
}

// advice tells an operator what is limited.
func (s recipientSettings) advice() []account.Advice {
	a := account.Advice{Name: "otp recipients", Level: redisguard.Warn}
	switch {
	case s.Limit.IsZero() && len(s.Fields) == 0:
		return nil
	case s.Limit.IsZero():
		a.Seen = "not guarded: OTP_RECIPIENT_FIELDS has no effect without OTP_RECIPIENT_LIMIT"
		a.Fix = "set OTP_RECIPIENT_LIMIT, for example to 5/10m"
	case len(s.Fields) == 0:
		a.Seen = fmt.Sprintf("%s for each, told apart by all values together", s.Limit)
		a.Fix = "set OTP_RECIPIENT_FIELDS: a name that is written otherwise makes another recipient"
	default:
		a.Level = redisguard.OK
		a.Seen = fmt.Sprintf("%s for each, told apart by %s", s.Limit, s.Fields)
	}
	return []account.Advice{a}
}

// recipients protects people from too many passcodes, and the operator from paying
// for them. A nil *recipients allows everything.
type recipients struct {
	fields []string
	guard  recipientGuard
}

// recipientGuard is a *admission.Guard.
type recipientGuard interface {
	Take(ctx context.Context, task string, recipient []string) error
	Free(ctx context.Context, task string, recipient []string)
}

// newRecipients returns nil without a limit.
func newRecipients(s recipientSettings, a *account.Account) *recipients {
	guard := a.Guard("otp-recipient", s.Limit)
	if guard == nil {
		return nil
	}
	return &recipients{
		fields: slices.Sorted(slices.Values(s.Fields)),
		guard:  guard,
	}
}

// send calls send if the recipient may have one more passcode. An attempt that
// certainly sent nothing does not count; one that may have sent does.
func (r *recipients) send(
	ctx context.Context,
	values Values,
	send func() (OTPSent, error),
) (OTPSent, error) {
	if r == nil {
		return send()
	}
	recipient, err := r.recipient(values)
	if err != nil {
		return OTPSent{}, unsent(clients.Invalid, err.Error())
	}
	task := tasks.TaskID(ctx)
	err = r.guard.Take(ctx, task, recipient)
	full, isFull := errors.AsType[*admission.Blocked](err)
	switch {
	case err == nil:
	case isFull:
		return OTPSent{}, unsent(
			clients.Declined,
			"refused by the recipient guard: "+full.Reason+"; again possible in "+admission.Span(full.RetryAfter),
		)
	default: // the text of err is Redis's and may contain data
		return OTPSent{}, unsent(
			clients.Temporary,
			"the recipient guard cannot be asked: Redis does not answer",
		)
	}
	sent, err := send()
	if e, ok := clients.AsError(err); ok && certainlyNotSent(e) {
		r.guard.Free(context.WithoutCancel(ctx), task, recipient)
	}
	return sent, err
}

// certainlyNotSent reports whether a failed send has certainly sent nothing: the
// request never left, or the vendor refused it before acting.
func certainlyNotSent(e *clients.Error) bool {
	switch e.Kind {
	case clients.Unknown, clients.Failed:
		return e.NotSent
	}
	return true
}

func unsent(kind clients.Kind, message string) *clients.Error {
	return &clients.Error{
		Vendor:  danaconnect.Vendor,
		Op:      otp.OpSend,
		Kind:    kind,
		Message: message,
		NotSent: true,
	}
}

// recipient returns what identifies the recipient, in a form that does not depend on
// spelling.
func (r *recipients) recipient(values Values) ([]string, error) {
	if len(r.fields) == 0 {
		sorted := slices.SortedFunc(
			slices.Values(values),
			func(a, b Value) int { return cmp.Compare(a.Key, b.Key) },
		)
		var all []string
		for _, v := range sorted {
			all = append(all, v.Key, plainForm(v.Value))
		}
		return all, nil
	}
	var named, missing []string
	for _, field := range r.fields {
		i := slices.IndexFunc(values, func(v Value) bool { return v.Key == field })
		if i < 0 || plainForm(values[i].Value) == "" {
			missing = append(missing, field)
			continue
		}
		named = append(named, field, plainForm(values[i].Value))
	}
	if missing != nil {
		return nil, fmt.Errorf(
			"values lacks %s, which OTP_RECIPIENT_FIELDS says names the recipient",
			strings.Join(missing, ", "),
		)
	}
	return named, nil
}

// plainForm returns a value without what does not distinguish recipients: upper case,
// spaces around it, and the punctuation of a phone number.
func plainForm(value string) string {
	value = strings.ToLower(strings.TrimSpace(value))
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, value)
	if len(digits) >= 6 && strings.Trim(value, "0123456789+-()./ ") == "" {
		return digits
	}
	return value
}
