package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"errand.internal/internal/record"
)

// mentioning returns the tasks of a queue that the index finds by nobody, such as free
// calls and bulk loads, and whose payload or result names a subject. unread counts those
// that the keys of this process do not open.
func (o *Operator) mentioning(
	ctx context.Context,
	queue string,
	subject string,
) (found []*record.Record, unread int, err error) {
	seen := map[string]bool{}
	err = o.store.EachRecord(ctx, queue, func(r *record.Record) error {
		if len(r.Digests) > len(r.VendorIDs) || seen[r.ID] {
			return nil // it has subjects
		}
		seen[r.ID] = true
		payload, result, err := o.producer.Texts(ctx, r)
		switch {
		case errors.Is(err, record.ErrNotFound): // it has just expired
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			unread++
		case mentions(payload, subject), mentions(result, subject):
			found = append(found, r)
		}
		return nil
	})
	return found, unread, err
}

// mentions reports whether a JSON document names a subject: as a text of its own, as a part
// of one between separators, or, for an address, anywhere in one. What is not JSON, such as
// the payload of a plain asynq client, is one text.
func mentions(document []byte, subject string) bool {
	if len(document) == 0 {
		return false
	}
	reader := json.NewDecoder(bytes.NewReader(document))
	reader.UseNumber()
	for {
		token, err := reader.Token()
		switch {
		case errors.Is(err, io.EOF):
			return false
		case err != nil:
			return names(string(document), subject)
		}
		switch text := token.(type) {
		case string:
			if names(text, subject) {
				return true
			}
		case json.Number:
			if names(text.String(), subject) {
				return true
			}
		}
	}
}

func names(text, subject string) bool {
	want := record.PlainSubject(subject)
	if record.PlainSubject(text) == want {
		return true
	}
	if strings.Contains(want, "@") && strings.Contains(strings.ToLower(text), want) { // want is in lower case
		return true
	}
	for part := range strings.FieldsFuncSeq(text, isSeparator) {
		if record.PlainSubject(part) == want {
			return true
		}
	}
	return false
}

func isSeparator(r rune) bool {
	return strings.ContainsRune("/?&=,;|<>\"' \t\r\n", r)
}
