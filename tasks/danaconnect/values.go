package danaconnect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Value is one field of a contact list.
type Value struct {
	Key   string `json:"key" clear:"true"`
	Value string `json:"value"`
}

// Values are fields of a contact list. In JSON they may be given as the
// vendor's list of {key, value} or as an object.
type Values []Value

// KindName names the type in descriptions.
func (*Values) KindName() string {
	return "list of {key, value}, or object"
}

// TextMembers says to --set that every member of the object is text.
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
	seen := map[string]bool{}
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

func (v *Values) fromList(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var list []struct {
		Key   *string `json:"key"`
		Value *string `json:"value"`
	}
	if dec.Decode(&list) != nil {
		return errors.New("must be a list of {key, value}, both text")
	}
	*v = make(Values, len(list))
	for i, entry := range list {
		if entry.Key == nil || entry.Value == nil {
			return fmt.Errorf("has no key or no value in entry %d", i)
		}
		(*v)[i] = Value{Key: *entry.Key, Value: *entry.Value}
	}
	return nil
}

func (v *Values) fromObject(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // {
	*v = Values{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return errors.New("cannot be read")
		}
		value, err := dec.Token()
		text, isText := value.(string)
		if err != nil || !isText {
			return fmt.Errorf("must hold texts; %s is none", key)
		}
		*v = append(*v, Value{Key: key.(string), Value: text})
	}
	return nil
}
