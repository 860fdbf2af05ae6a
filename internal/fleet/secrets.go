package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/tasks"
)

// CheckSecrets asserts that nothing in Redis, keys included, and nothing in the
// logs of the processes gives away a password, a company hash, a recipient, a
// user, a token, or the code of one of the passcodes among ids: neither as it
// is, nor in base64 or hex. It returns how many values it looked at.
func (s *Site) CheckSecrets(ids []string) int {
	s.tb.Helper()
	found, looked := s.leaks(ids)
	for _, text := range found[:min(len(found), mostComplaints)] {
		s.tb.Error(text)
	}
	return looked
}

func (s *Site) leaks(ids []string) (found []string, looked int) {
	secrets := []secretText{{"the canary", forms(s.Canary)}}
	for i, token := range s.Tokens() {
		// The signature is the secret part; header and claims are the same for all
		// tokens of a second.
		secrets = append(
			secrets,
			secretText{
				fmt.Sprintf("token %d", i+1),
				forms(token[strings.LastIndexByte(token, '.')+1:]),
			},
		)
	}
	for _, id := range ids {
		s.mu.Lock()
		_, sent := s.sent[id].(tasks.OTPSend)
		s.mu.Unlock()
		if !sent {
			continue
		}
		if status, err := s.Client.Status(s.tb.Context(), id); err == nil {
			if code := s.OTP.Code(idRequest(status)); code != "" {
				secrets = append(secrets, secretText{"the code of " + id, forms(code)})
			}
		}
	}
	look := func(where string, text []byte) {
		looked++
		for _, secret := range secrets {
			for form, want := range secret.forms {
				if bytes.Contains(text, []byte(want)) {
					found = append(
						found,
						fmt.Sprintf("%s shows %s (%s)", where, secret.name, form),
					)
				}
			}
		}
	}
	if err := s.dump(s.tb.Context(), look); err != nil {
		s.tb.Fatalf("dump Redis: %v", err)
	}
	for _, p := range s.Processes() {
		look("the log of "+p.Name, []byte(p.Log()))
	}
	return found, looked
}

// idRequest names the code in the result of a passcode, "" if there is none.
func idRequest(status *tasks.Status) string {
	var sent tasks.OTPSent
	if json.Unmarshal(status.Data, &sent) != nil {
		return ""
	}
	return sent.IDRequest
}

type secretText struct {
	name  string
	forms map[string]string
}

// forms are the ways in which a text may stand within another. In base64 a text
// looks different at each of three places; the letters at its edges also hold
// bits of its neighbours and are left out.
func forms(text string) map[string]string {
	all := map[string]string{
		"as it is": text,
		"in hex":   hex.EncodeToString([]byte(text)),
		"in HEX":   strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), text...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "URL base64": base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(padded)
			encoded = encoded[(shift*8+5)/6:]
			encoded = encoded[:len(encoded)-1]
			all[fmt.Sprintf("in %s, shifted by %d", name, shift)] = encoded
		}
	}
	return all
}

// dump shows every key and every value of all of Redis, asynq's own as well.
func (s *Site) dump(ctx context.Context, look func(where string, text []byte)) error {
	if s.Cluster == nil {
		return dumpNode(ctx, s.Redis.Client(), look)
	}
	for _, node := range s.Cluster.Nodes() {
		if err := dumpNode(ctx, node.Client(), look); err != nil {
			return err
		}
	}
	return nil
}

func dumpNode(
	ctx context.Context,
	rdb *redis.Client,
	look func(where string, text []byte),
) error {
	keys := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		look("the key "+key, []byte(key))
		values, err := valuesOf(ctx, rdb, key)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		look(key, []byte(strings.Join(values, "\n")))
	}
	return keys.Err()
}

// valuesOf is all that a key of any type holds.
func valuesOf(
	ctx context.Context,
	rdb *redis.Client,
	key string,
) (values []string, err error) {
	kind, err := rdb.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "none": // it has expired meanwhile
		return nil, nil
	case "string":
		text, err := rdb.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		return []string{text}, err
	case "hash":
		fields, err := rdb.HGetAll(ctx, key).Result()
		for name, value := range fields {
			values = append(values, name, value)
		}
		return values, err
	case "list":
		return rdb.LRange(ctx, key, 0, -1).Result()
	case "set":
		return rdb.SMembers(ctx, key).Result()
	case "zset":
		return rdb.ZRange(ctx, key, 0, -1).Result()
	case "stream":
		entries, err := rdb.XRange(ctx, key, "-", "+").Result()
		for _, entry := range entries {
			for name, value := range entry.Values {
				values = append(values, name, fmt.Sprint(value))
			}
		}
		return values, err
	}
	return nil, fmt.Errorf("it is a %s, which this dump does not know", kind)
}
