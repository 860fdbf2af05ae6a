package fleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// CheckSecrets asserts that no key or value in Redis and no log reveals a secret or
// personal value with the canary, a token, or what the vendors hold for the tasks
// (ResultSecrets), neither as it is nor in base64 or hex. It returns how many texts
// it searched.
func (f *Fixture) CheckSecrets(ids []string) int {
	f.tb.Helper()
	found, searched := f.leaks(ids)
	for _, leak := range found[:min(len(found), maxProblems)] {
		f.tb.Error(leak)
	}
	return searched
}

// leakSearch searches texts for secrets.
type leakSearch struct {
	secrets  []encodedSecret
	found    []string
	searched int
}

// encodedSecret is a secret in all forms in which it may be part of a text.
type encodedSecret struct {
	name  string
	forms map[string]string
}

func (s *leakSearch) add(name, secret string) {
	s.secrets = append(s.secrets, encodedSecret{name, encodings(secret)})
}

// search looks for all secrets in text, which was read from where.
func (s *leakSearch) search(where string, text []byte) {
	s.searched++
	for _, secret := range s.secrets {
		for form, encoded := range secret.forms {
			if bytes.Contains(text, []byte(encoded)) {
				s.found = append(s.found, fmt.Sprintf("%s shows %s (%s)", where, secret.name, form))
			}
		}
	}
}

func (f *Fixture) leaks(ids []string) (found []string, searched int) {
	s := &leakSearch{}
	s.add("the canary", f.Canary)
	for i, token := range f.Tokens() {
		// The signature is the secret part of a JWT. All tokens of one second share
		// the rest.
		s.add(fmt.Sprintf("token %d", i+1), token[strings.LastIndexByte(token, '.')+1:])
	}
	for _, id := range ids {
		kind := f.KindOf(id)
		if kind == nil || kind.ResultSecrets == nil {
			continue
		}
		if status, err := f.Client.Status(f.tb.Context(), id); err == nil {
			for _, secret := range kind.ResultSecrets(status) {
				s.add("what the vendor holds for "+id, secret)
			}
		}
	}
	if err := f.dump(f.tb.Context(), s.search); err != nil {
		f.tb.Fatalf("dump Redis: %v", err)
	}
	for _, p := range f.Processes() {
		s.search("the log of "+p.Name, []byte(p.Log()))
	}
	return s.found, s.searched
}

// encodings returns the forms in which a text may be part of another one. In base64
// a text has three forms, depending on its position; the characters at both ends
// also encode bits of the neighbouring bytes and are left out.
func encodings(text string) map[string]string {
	forms := map[string]string{
		"as it is": text,
		"in hex":   hex.EncodeToString([]byte(text)),
		"in HEX":   strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	variants := map[string]*base64.Encoding{
		"base64":     base64.RawStdEncoding,
		"URL base64": base64.RawURLEncoding,
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), text...)
		for name, encoding := range variants {
			encoded := encoding.EncodeToString(padded)
			encoded = encoded[(shift*8+5)/6:]
			encoded = encoded[:len(encoded)-1]
			forms[fmt.Sprintf("in %s, shifted by %d", name, shift)] = encoded
		}
	}
	return forms
}

// dump calls visit with every key and every value in Redis, including asynq's.
func (f *Fixture) dump(ctx context.Context, visit func(where string, text []byte)) error {
	if f.Cluster == nil {
		return dumpNode(ctx, f.Redis.Client(), visit)
	}
	for _, node := range f.Cluster.Nodes() {
		if err := dumpNode(ctx, node.Client(), visit); err != nil {
			return err
		}
	}
	return nil
}

func dumpNode(
	ctx context.Context,
	rdb *redis.Client,
	visit func(where string, text []byte),
) error {
	keys := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		visit("the key "+key, []byte(key))
		values, err := valuesOf(ctx, rdb, key)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		visit(key, []byte(strings.Join(values, "\n")))
	}
	return keys.Err()
}

// valuesOf returns the contents of a key of any type.
func valuesOf(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
	kind, err := rdb.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "none": // the key has expired
		return nil, nil
	case "string":
		text, err := rdb.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		return []string{text}, err
	case "hash":
		fields, err := rdb.HGetAll(ctx, key).Result()
		var values []string
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
		return streamValues(ctx, rdb, key)
	}
	return nil, fmt.Errorf("the type %s is not supported", kind)
}

func streamValues(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
	entries, err := rdb.XRange(ctx, key, "-", "+").Result()
	var values []string
	for _, entry := range entries {
		for name, value := range entry.Values {
			values = append(values, name, fmt.Sprint(value))
		}
	}
	return values, err
}
