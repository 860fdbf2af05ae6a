package broker

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/record"
)

// once is what a record keeps from the moment the task is stored: all that the
// scripts must know about the task. Lua reads it by position (lists.lua).
type once struct {
	redelivery Redelivery
	retention  time.Duration
	keyTTL     time.Duration
	notify     bool // the end is published
	scheduled  bool // a schedule enqueued it
	audited    bool
	key        string // digest
	intent     string // digest
	role       Role
	alone      string // digest
	version    int    // of the payload's form
}

// PayloadVersion is the version of the payloads that this release writes. It rises
// whenever a payload gets a field or a type is added, so that a worker of an older
// release parks what it cannot read instead of ending it invalid.
const PayloadVersion = 1

// newOnce describes a task of a policy, without what only its producer knows.
func newOnce(p Policy, salt string) once {
	o := once{
		redelivery: p.Redelivery,
		retention:  p.Retention,
		keyTTL:     p.KeyTTL,
		audited:    p.AuditSubject != "",
		version:    PayloadVersion,
	}
	if p.Intent.Subject != "" {
		o.intent = record.Digest(salt, "intent", p.Intent.Subject)
		o.role = p.Intent.Role
	}
	return o
}

// encode returns the field once of the record.
func (o once) encode() string {
	text := make([]byte, 0, 96)
	text = strconv.AppendInt(text, int64(o.redelivery), 10)
	text = strconv.AppendInt(append(text, ' '), o.retention.Milliseconds(), 10)
	text = strconv.AppendInt(append(text, ' '), o.keyTTL.Milliseconds(), 10)
	text = append(append(text, ' '), cmp.Or(o.flags(), "-")...)
	for _, word := range [...]string{o.key, o.intent, string(o.role), o.alone} {
		text = append(append(text, ' '), cmp.Or(word, "-")...)
	}
	return string(strconv.AppendInt(append(text, ' '), int64(o.version), 10))
}

func (o once) flags() (letters string) {
	if o.notify {
		letters += "n"
	}
	if o.scheduled {
		letters += "s"
	}
	if o.audited {
		letters += "a"
	}
	return letters
}

// decodeOnce reads the field once; a text that is none reads as the defaults.
func decodeOnce(text string) once {
	words := strings.Fields(text)
	if len(words) < 9 {
		return newOnce(Policy{}.WithDefaults(), "")
	}
	for i, w := range words {
		if w == "-" {
			words[i] = ""
		}
	}
	return once{
		redelivery: Redelivery(number(words[0])),
		retention:  time.Duration(number(words[1])) * time.Millisecond,
		keyTTL:     time.Duration(number(words[2])) * time.Millisecond,
		notify:     strings.Contains(words[3], "n"),
		scheduled:  strings.Contains(words[3], "s"),
		audited:    strings.Contains(words[3], "a"),
		key:        words[4],
		intent:     words[5],
		role:       Role(words[6]),
		alone:      words[7],
		version:    int(number(words[8])),
	}
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
