package danaconnect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// DefaultOperation is the operationType of the vendor's sample: insert all rows.
const DefaultOperation = "INSALL"

// ContactsClient loads contacts in bulk, with the login of API 1.0. It is safe
// for concurrent use. Its errors are *clients.Error.
type ContactsClient struct {
	base     clients.BaseURL
	login    string
	password secret.String
	gate     tokens.Gate
	caller   *clients.Caller
}

// NewContacts makes the client of one account. gate guards its password and is
// the one that the OTPClient of the same account uses.
func NewContacts(
	cfg OTPConfig,
	gate tokens.Gate,
	caller *clients.Caller,
) (*ContactsClient, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := cfg.contactsURL()
	if err != nil {
		return nil, err
	}
	if gate == nil || caller == nil {
		return nil, errors.New("danaconnect: a gate and a caller are needed")
	}
	return &ContactsClient{
		base:     base,
		login:    cfg.login(),
		password: cfg.Password,
		gate:     gate,
		caller:   caller,
	}, nil
}

// Load is rows for one table of the Contact Manager. The names are the vendor's.
type Load struct {
	TableCode string
	// FieldsCode names the columns of Rows, in their order.
	FieldsCode []string
	Rows       [][]string
	// OperationType is DefaultOperation if empty.
	OperationType string
	// KeyField is the field that tells contacts apart; "" leaves it to the vendor.
	KeyField string
	// Strict is the vendor's flag; nil leaves it to the vendor.
	Strict *bool
}

// LoadContacts hands rows over. nil means that the vendor accepted the file, not
// that it was loaded: that happens later, and the vendor tells it on its
// platform. Loading twice may insert twice, so Unknown must not be retried
// blindly. The Answer is there also beside an error, if the vendor gave one.
func (c *ContactsClient) LoadContacts(ctx context.Context, l Load) (Answer, error) {
	req, err := c.request(l)
	if err != nil {
		return Answer{}, err
	}
	pass, err := c.gate.Enter(ctx)
	if err != nil {
		return Answer{}, clients.GateError(Vendor, OpLoad, "the login", err)
	}
	verdict := tokens.Inconclusive
	// Reported exactly once, also when something panics in between or the task's
	// own time is up.
	defer func() {
		pass.Report(context.WithoutCancel(ctx), verdict)
	}()

	answer, err := c.caller.Do(ctx, OpLoad, req)
	if err != nil {
		return Answer{}, err
	}
	s := readLoad(answer)
	switch {
	case answer.Status == http.StatusUnauthorized:
		verdict = tokens.Refused
	case s.signal == SaysDone && answer.Status >= 200 && answer.Status <= 299:
		// A failure proves nothing: the vendor may say it before it looks at the
		// login.
		verdict = tokens.Accepted
	}
	err = judge(OpLoad, answer, s)
	if e, ok := clients.AsError(err); ok && verdict == tokens.Refused {
		// So that whoever parks the task knows what it waits for.
		e.Err = &tokens.RefusedError{Profile: profileOTP, Reason: "the login was refused"}
	}
	return answerOf(answer), err
}

// request builds what goes out. Errors quote nothing of it.
func (c *ContactsClient) request(l Load) (*http.Request, error) {
	if err := l.check(); err != nil {
		return nil, unsendable(OpLoad, err.Error())
	}
	target, err := c.base.Below("rest/webdb/table/" + url.PathEscape(l.TableCode))
	if err != nil {
		return nil, unsendable(OpLoad, "tableCode "+err.Error())
	}
	body, contentType, err := l.form()
	if err != nil {
		return nil, unsendable(OpLoad, "the form cannot be written")
	}
	// The context is the Caller's to set.
	req, err := http.NewRequestWithContext(
		context.Background(),
		http.MethodPost,
		target,
		bytes.NewReader(body),
	)
	if err != nil {
		return nil, unsendable(OpLoad, "the request cannot be built")
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(c.login, c.password.Reveal())
	return req, nil
}

func (l Load) check() error {
	switch {
	case l.TableCode == "":
		return errors.New("tableCode is needed")
	case len(l.FieldsCode) == 0:
		return errors.New("fieldsCode is needed")
	case len(l.Rows) == 0:
		return errors.New("rows are needed")
	}
	for _, field := range l.FieldsCode {
		if field == "" || strings.Contains(field, ";") {
			return errors.New("a field code must not be empty or contain ';'")
		}
	}
	for _, row := range l.Rows {
		if len(row) != len(l.FieldsCode) {
			return errors.New("every row must have one cell for each field code")
		}
	}
	return nil
}

// form writes the multipart body. Its boundary is made of the content, so that
// the same load is the same bytes.
func (l Load) form() (body []byte, contentType string, err error) {
	operation := l.OperationType
	if operation == "" {
		operation = DefaultOperation
	}
	fields := [][2]string{
		{"separator", ","},
		{"delimiter", `"`},
		{"includeHeaders", "false"},
		{"operationType", operation},
		{"encodingType", "UTF-8"},
	}
	if l.KeyField != "" {
		fields = append(fields, [2]string{"keyField", l.KeyField})
	}
	fields = append(fields, [2]string{"fieldsCode", strings.Join(l.FieldsCode, ";")})
	if l.Strict != nil {
		fields = append(fields, [2]string{"strict", strconv.FormatBool(*l.Strict)})
	}
	file := l.csv()
	digest := sha256.New()
	digest.Write(file)
	for _, f := range fields {
		digest.Write([]byte("\x00" + f[0] + "\x00" + f[1]))
	}

	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	if err := form.SetBoundary("errand-" + hex.EncodeToString(digest.Sum(nil)[:24])); err != nil {
		return nil, "", err
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="contacts.csv"`},
		"Content-Type":        {"text/csv; charset=UTF-8"},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(file); err != nil {
		return nil, "", err
	}
	for _, f := range fields {
		if err := form.WriteField(f[0], f[1]); err != nil {
			return nil, "", err
		}
	}
	if err := form.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), form.FormDataContentType(), nil
}

// csv writes the rows with every cell quoted (RFC 4180), so that commas, quotes,
// line ends, spaces and empty cells all come out as they went in.
func (l Load) csv() []byte {
	var out bytes.Buffer
	for _, row := range l.Rows {
		for i, cell := range row {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
		}
		out.WriteString("\r\n")
	}
	return out.Bytes()
}
