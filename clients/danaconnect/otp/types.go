package otp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"errand.internal/internal/secret"
	"errand.internal/internal/strictjson"
)

// Message asks the vendor to make one code and send it. Its JSON is the vendor's.
type Message struct {
	// IDConversation is the id of the conversation's activation; a reactivated
	// conversation gets a new one.
	IDConversation int64 `json:"idConversation"`
	// Values fill fields of the contact list; together they name the recipient.
	Values Values `json:"values"`
	// OTPType is 1 for digits, 2 for digits and letters.
	OTPType int `json:"type"`
	// Length is the number of characters, 3 to 12.
	Length int `json:"length"`
	// SecondsExpiration is the life of the code, 1 to 3200; nil means
	// DefaultSecondsExpiration.
	SecondsExpiration *int `json:"secondsExpiration"`
	// MaximumTries is the number of wrong codes allowed; nil leaves it to the
	// vendor (5).
	MaximumTries *int `json:"maximumTries,omitempty"`
}

// DefaultSecondsExpiration is the life of a code whose Message does not set one.
const DefaultSecondsExpiration = 300

// Sent is a code accepted for sending, which does not mean delivered.
type Sent struct {
	// IDRequest identifies the code in Verify. It is digits, kept as text.
	IDRequest string `json:"idRequest"`
	// ConversationRequestID tracks the message on the vendor's platform; it may be
	// empty.
	ConversationRequestID string `json:"conversationRequestId,omitempty"`
}

// VendorIDs are the IDs by which an operator finds the task.
func (s Sent) VendorIDs() []string {
	return []string{s.IDRequest, s.ConversationRequestID}
}

// Verification asks whether a person typed the right code.
type Verification struct {
	IDRequest string
	OTP       secret.String
}

// Verified is the vendor's verdict on a code.
type Verified struct {
	Verdict Verdict `json:"verdict"`
}

// Verdict is what the vendor says about a code.
type Verdict string

// The verdicts. None is the verdict of an answer that does not judge the code.
const (
	None      Verdict = ""
	Correct   Verdict = "correct"
	Incorrect Verdict = "incorrect" // one attempt is spent
	Expired   Verdict = "expired"
	Used      Verdict = "used"   // accepted before, perhaps in our own unanswered call
	Locked    Verdict = "locked" // all attempts are spent
)

// Value is one field of a contact list.
type Value struct {
	Key   string `json:"key" text:"id" clear:"true"`
	Value string `json:"value" text:"lines"`
}

// Values are fields of a contact list. Their JSON is the vendor's list of
// {key, value}; an object of texts is read as well.
type Values []Value

// KindName names the type in descriptions of payloads.
func (*Values) KindName() string {
	return "list of {key, value}, or object"
}

// TextMembers tells enqueue --set that every member of the object is text.
func (*Values) TextMembers() {}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Values) UnmarshalJSON(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	var err error
	switch raw[0] {
	case '[':
		err = v.fromList(raw)
	case '{':
		err = v.fromObject(raw)
	default:
		err = errors.New("must be a list of {key, value} or an object")
	}
	if err != nil {
		return err
	}
	seen := make(map[string]bool, len(*v))
	for _, value := range *v {
		switch {
		case value.Key == "":
			return errors.New("has an entry without a key")
		case seen[value.Key]:
			return fmt.Errorf("has the key %s twice", value.Key)
		}
		seen[value.Key] = true
	}
	return nil
}

const listRule = "must be a list of {key, value}, both text"

// fromList reads the entries by hand: a struct would take KEY for key.
func (v *Values) fromList(raw []byte) error {
	items := strictjson.Items(raw)
	*v = make(Values, len(items))
	var fault error // of the first entry that lacks something; one that is no text comes first
	for i, item := range items {
		var key, value *string
		more := false
		if item[0] != '{' && item[0] != 'n' {
			return errors.New(listRule)
		}
		for name, given := range strictjson.Members(item) {
			text, ok := optionalText(given)
			if !ok {
				return errors.New(listRule)
			}
			switch string(name) {
			case "key":
				key = text
			case "value":
				value = text
			default:
				more = true
			}
		}
		switch {
		case fault != nil:
		case key == nil || value == nil:
			fault = fmt.Errorf("has no key or no value in entry %d", i)
		case more:
			fault = errors.New(listRule)
		default:
			(*v)[i] = Value{Key: *key, Value: *value}
		}
	}
	return fault
}

// optionalText returns a text, nil for null; ok is false for anything else.
func optionalText(raw json.RawMessage) (text *string, ok bool) {
	switch raw[0] {
	case '"':
		return new(strictjson.Text(raw)), true
	case 'n':
		return nil, true
	}
	return nil, false
}

// fromObject reads the members in their order, which a map would lose.
func (v *Values) fromObject(raw []byte) error {
	*v = Values{}
	for name, value := range strictjson.Members(raw) {
		if value[0] != '"' {
			return fmt.Errorf("must hold texts; %s is none", name)
		}
		*v = append(*v, Value{Key: string(name), Value: strictjson.Text(value)})
	}
	return nil
}
