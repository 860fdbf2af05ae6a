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
	"errand.internal/internal/record"
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
// for them.
type recipients struct {
	fields []string
	guard  guard // of each recipient; nil for no limit
	// account is the guard of all passcodes of the account, nil for no limit, and identity
	// who it is.
	account  guard
	identity []string
	// surge is told of every passcode that may have been sent; nil without Redis.
	surge *admission.Surge
}

// guard is a *admission.Guard.
type guard interface {
	Take(ctx context.Context, task string, recipient []string) error
	Free(ctx context.Context, task string, recipient []string)
}

func newRecipients(s *basicSettings, a *account.Account) *recipients {
	r := &recipients{
		fields:   slices.Sorted(slices.Values(s.Recipients.Fields)),
		identity: []string{s.Username, s.Company},
		surge:    a.Surge(s.Profile()),
	}
	if g := a.Guard("otp-recipient", "recipient", s.Recipients.Limit); g != nil {
		r.guard = g
	}
	if g := a.Guard("otp-account", "account", s.AccountLimit); g != nil {
		r.account = g
	}
	return r
}

// place is what a send takes at a guard.
type place struct {
	guard guard
	who   string // as errors name it
	of    []string
}

// places returns what a send to the recipient of values takes.
func (r *recipients) places(values Values) ([]place, error) {
	var places []place
	if r.guard != nil {
		recipient, err := r.recipient(values)
		if err != nil {
			return nil, err
		}
		places = append(places, place{r.guard, "recipient", recipient})
	}
	if r.account != nil {
		places = append(places, place{r.account, "account", r.identity})
	}
	return places, nil
}

// send calls send if the recipient may have one more passcode, and the account may send
// one. An attempt that certainly sent nothing does not count; one that may have sent does.
func (r *recipients) send(
	ctx context.Context,
	values Values,
	send func() (OTPSent, error),
) (OTPSent, error) {
	places, err := r.places(values)
	if err != nil {
		return OTPSent{}, unsent(clients.Invalid, err.Error())
	}
	task := tasks.TaskID(ctx)
	free := func(places []place) {
		for _, p := range places {
			p.guard.Free(context.WithoutCancel(ctx), task, p.of)
		}
	}
	for i, p := range places {
		if err := p.take(ctx, task); err != nil {
			free(places[:i])
			return OTPSent{}, err
		}
	}
	sent, err := send()
	if e, ok := clients.AsError(err); ok && certainlyNotSent(e) {
		free(places)
	} else {
		r.surge.Count()
	}
	return sent, err
}

// take takes the place, or returns the error with which the task ends or tries again.
func (p place) take(ctx context.Context, task string) error {
	err := p.guard.Take(ctx, task, p.of)
	if err == nil {
		return nil
	}
	name := "the " + p.who + " guard"
	if full, ok := errors.AsType[*admission.Blocked](err); ok {
		return unsent(
			clients.Declined,
			"refused by "+name+": "+full.Reason+"; again possible in "+admission.Span(full.RetryAfter),
		)
	}
	// The text of err is Redis's and may contain data.
	return unsent(clients.Temporary, name+" cannot be asked: Redis does not answer")
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
			all = append(all, v.Key, record.PlainSubject(v.Value))
		}
		return all, nil
	}
	var named, missing []string
	for _, field := range r.fields {
		i := slices.IndexFunc(values, func(v Value) bool { return v.Key == field })
		if i < 0 || record.PlainSubject(values[i].Value) == "" {
			missing = append(missing, field)
			continue
		}
		named = append(named, field, record.PlainSubject(values[i].Value))
	}
	if missing != nil {
		return nil, fmt.Errorf(
			"values lacks %s, which OTP_RECIPIENT_FIELDS says names the recipient",
			strings.Join(missing, ", "),
		)
	}
	return named, nil
}
