package dinero

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"errand.internal/internal/payload"
)

// Request is an arbitrary API call for one organization.
type Request struct {
	Organization string
	// Method is one of Methods.
	Method string
	// Version is the version of the endpoint: v1, v2 or v1.2. "" means v1.
	Version string
	// Path is below {version}/{organization}/ and escaped as in a URL.
	Path  string
	Query url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
}

// Methods are the methods of a Request.
var Methods = []string{
	http.MethodGet,
	http.MethodHead,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// CreateRequest describes a record to create.
type CreateRequest struct {
	Organization string
	// Body is the vendor's body of POST contacts or POST invoices.
	Body map[string]any
	// Reference becomes the ExternalReference if the body has none. It identifies
	// the record for good, so that it can be found again.
	Reference string
}

// Created identifies a record.
type Created struct {
	// GUID is the vendor's id. It is empty if the vendor confirmed the record
	// without naming it and does not list it yet.
	GUID string `json:"Guid,omitempty"`
	// TimeStamp is the record's version, which the next change must name. The
	// vendor gives none for a contact.
	TimeStamp string `json:"TimeStamp,omitempty"`
}

// VendorIDs are the IDs by which an operator finds the task.
func (c Created) VendorIDs() []string {
	return []string{c.GUID}
}

// IsVersion reports whether version has the form of an endpoint's version: v1,
// v2, v1.2.
func IsVersion(version string) bool {
	digits, v := strings.CutPrefix(version, "v")
	major, minor, dotted := strings.Cut(digits, ".")
	isNumber := func(s string) bool {
		return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
	}
	return v && isNumber(major) && (!dotted || isNumber(minor))
}

// MaxReferenceLength is the length of the longest ExternalReference, in
// characters.
const MaxReferenceLength = 128

// externalReference is the vendor's name of the field. It is case-insensitive.
const externalReference = "ExternalReference"

// ReferenceOf returns the ExternalReference of a body, "" if it has none. The
// error says why the reference is invalid.
func ReferenceOf(body map[string]any) (string, error) {
	name, err := referenceName(body)
	if err != nil || name == "" || body[name] == nil {
		return "", err
	}
	reference, isText := body[name].(string)
	if !isText {
		return "", errors.New("must be text")
	}
	return reference, CheckReference(reference)
}

// CheckReference returns an error if an ExternalReference is invalid, or if the
// vendor might normalize it so that it could not be found again.
func CheckReference(reference string) error {
	switch {
	case reference == "":
		return errors.New("must not be empty")
	case !utf8.ValidString(reference) || utf8.RuneCountInString(reference) > MaxReferenceLength:
		return errors.New("must have at most 128 characters")
	case strings.TrimSpace(reference) != reference:
		return errors.New("must not begin or end with a space")
	case strings.ContainsFunc(reference, unicode.IsControl):
		return errors.New("must not contain control characters")
	}
	// Two references that look the same would be two records.
	if _, rule := payload.CleanText(payload.Line, reference); rule != "" {
		return errors.New(rule)
	}
	return nil
}

// IsReference reports whether a member of a body is its ExternalReference.
func IsReference(name string) bool {
	return strings.EqualFold(name, externalReference)
}

// referenceName returns the name of the ExternalReference as the body spells it,
// "" if the body has none.
func referenceName(body map[string]any) (string, error) {
	found := ""
	for name := range body {
		if IsReference(name) {
			if found != "" {
				return "", errors.New("is given twice")
			}
			found = name
		}
	}
	return found, nil
}
