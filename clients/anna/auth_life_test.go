package anna_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

func TestTokenLife(t *testing.T) {
	t.Parallel()
	const unknown = 5 * time.Minute
	vendor := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC) // of the Date header
	local := vendor.Add(-90 * time.Minute)                 // far off
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	unix := func(d time.Duration) int64 { return vendor.Add(d).Unix() }
	tests := []struct {
		name      string
		expiresIn string // JSON; "" leaves it out
		token     string // "opaque" by default
		zone      string
		noDate    bool
		want      time.Duration
	}{
		{name: "seconds", expiresIn: `"3600"`, want: time.Hour},
		{name: "seconds with spaces", expiresIn: `" 3600 "`, want: time.Hour},
		{name: "seconds as a number", expiresIn: `3600`, want: time.Hour},
		{name: "thirty days", expiresIn: `"2592000"`, want: 30 * 24 * time.Hour},
		{name: "more than thirty days", expiresIn: `"2592001"`, want: unknown},
		{name: "a billion is still seconds", expiresIn: `"1000000000"`, want: unknown},
		{name: "no seconds", expiresIn: `"0"`, want: unknown},
		{name: "negative", expiresIn: `"-60"`, want: unknown},
		{name: "fraction", expiresIn: `"3600.5"`, want: unknown},

		{name: "timestamp, UTC first", expiresIn: `"20300601130000"`, want: time.Hour},
		{name: "timestamp as a number", expiresIn: `20300601130000`, want: time.Hour},
		{
			name:      "timestamp, zone first",
			expiresIn: `"20300601230000"`,
			zone:      "Asia/Tokyo",
			want:      2 * time.Hour,
		},
		{name: "timestamp past in one reading", expiresIn: `"20300601103000"`, want: unknown},
		{
			name:      "timestamp by the local clock",
			expiresIn: `"20300601113000"`,
			noDate:    true,
			want:      time.Hour,
		},
		{name: "timestamp of no date", expiresIn: `"20301399000000"`, want: unknown},

		{name: "epoch", expiresIn: fmt.Sprintf("%q", fmt.Sprint(unix(20*time.Minute))), want: 20 * time.Minute},
		{name: "epoch as a number", expiresIn: fmt.Sprint(unix(20 * time.Minute)), want: 20 * time.Minute},
		{
			name:      "epoch by the local clock",
			expiresIn: fmt.Sprint(unix(0)),
			noDate:    true,
			want:      90 * time.Minute,
		},
		{name: "epoch past", expiresIn: fmt.Sprint(unix(-time.Second)), want: unknown},
		{
			name:      "epoch milliseconds",
			expiresIn: fmt.Sprint(unix(20*time.Minute)*1000 + 500),
			want:      20*time.Minute + 500*time.Millisecond,
		},
		{name: "epoch milliseconds far away", expiresIn: `"999999999999999999"`, want: unknown},
		{name: "too many digits", expiresIn: `"99999999999999999999999"`, want: unknown},

		{name: "RFC 3339", expiresIn: `"2030-06-01T12:30:00Z"`, want: 30 * time.Minute},
		{
			name:      "RFC 3339 with offset",
			expiresIn: `"2030-06-01T09:30:00.5-03:00"`,
			want:      30*time.Minute + 500*time.Millisecond,
		},
		{name: "RFC 3339 past", expiresIn: `"2029-06-01T12:30:00Z"`, want: unknown},
		{name: "clock", expiresIn: `"01:30:05"`, want: time.Hour + 30*time.Minute + 5*time.Second},
		{name: "clock with 75 minutes", expiresIn: `"01:75:00"`, want: unknown},
		{name: "clock at zero", expiresIn: `"00:00:00"`, want: unknown},

		{name: "empty", expiresIn: `""`, want: unknown},
		{name: "missing", want: unknown},
		{name: "null", expiresIn: `null`, want: unknown},
		{name: "prose", expiresIn: `"EXPIRATION_TIME"`, want: unknown},
		{name: "a list", expiresIn: `[3600]`, want: unknown},
		{name: "a boolean", expiresIn: `true`, want: unknown},

		{
			name:      "JWT earlier",
			expiresIn: `"7200"`,
			token:     jwt(`{"iat":1000,"exp":2800}`),
			want:      30 * time.Minute,
		},
		{
			name:      "JWT later",
			expiresIn: `"600"`,
			token:     jwt(`{"iat":1000,"exp":4600}`),
			want:      10 * time.Minute,
		},
		{
			name:      "JWT earlier than a timestamp",
			expiresIn: `"20300601130000"`,
			token:     jwt(`{"iat":1000,"exp":1600}`),
			want:      10 * time.Minute,
		},
		{
			name:      "JWT alone",
			expiresIn: `"soon"`,
			token:     jwt(`{"iat":1000.25,"exp":4600.75}`),
			want:      time.Hour + 500*time.Millisecond,
		},
		{name: "JWT padded", token: jwt(`{"iat":1000,"exp":4600}  `) + "=", want: time.Hour},
		{
			name:      "JWT against an implausible text",
			expiresIn: `"99999999"`,
			token:     jwt(`{"iat":1000,"exp":4600}`),
			want:      time.Hour,
		},
		{
			name:      "JWT against a past text",
			expiresIn: `"20300601100000"`,
			token:     jwt(`{"iat":1000,"exp":4600}`),
			want:      unknown,
		},
		{name: "JWT over a year", token: jwt(`{"iat":0,"exp":31536000}`), want: unknown},
		{name: "JWT beyond a Duration", token: jwt(`{"iat":0,"exp":1e300}`), want: unknown},
		{
			name:      "JWT backwards",
			expiresIn: `"3600"`,
			token:     jwt(`{"iat":4600,"exp":1000}`),
			want:      unknown,
		},
		{
			name:      "JWT without iat: never exp minus now",
			expiresIn: `"600"`,
			token:     jwt(fmt.Sprintf(`{"exp":%d}`, unix(time.Minute))),
			want:      10 * time.Minute,
		},
		{name: "JWT without iat alone", token: jwt(fmt.Sprintf(`{"exp":%d}`, unix(time.Hour))), want: unknown},
		{
			name:      "JWT without exp",
			expiresIn: `"600"`,
			token:     jwt(`{"iat":1000}`),
			want:      10 * time.Minute,
		},
		{
			name:      "JWT with odd claims",
			expiresIn: `"600"`,
			token:     jwt(`{"iat":"1000","exp":"2000"}`),
			want:      10 * time.Minute,
		},
		{
			name:      "JWT not JSON",
			expiresIn: `"600"`,
			token:     jwt(`exp`),
			want:      10 * time.Minute,
		},
		{
			name:      "JWT not base64",
			expiresIn: `"600"`,
			token:     "e30.***.sig",
			want:      10 * time.Minute,
		},
		{
			name:      "two parts only",
			expiresIn: `"600"`,
			token:     strings.TrimSuffix(jwt(`{"iat":1,"exp":2}`), ".sig"),
			want:      10 * time.Minute,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token := tt.token
			expiry := ""
			date := vendor.Format(http.TimeFormat)
			if token == "" {
				token = "opaque"
			}
			if tt.expiresIn != "" {
				expiry = `,"ExpiresIn":` + tt.expiresIn
			}
			if tt.noDate {
				date = ""
			}
			fault := answerWith(fmt.Sprintf(`{"success":true,"message":"","data":{"Token":%q%s}}`, token, expiry))
			fault.Header = map[string]string{"Date": date}
			sb := newSandbox(annatest.Options{})
			sb.Inject(fault)
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.TimeZone = tt.zone
			l := newLogin(t, cfg)
			l.SetNow(func() time.Time { return local })
			grant, err := l.Fetch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if grant.Life != tt.want || grant.Value.Reveal() != token {
				t.Errorf("%q lives %v, want %q for %v", grant.Value.Reveal(), grant.Life, token, tt.want)
			}
		})
	}
}

// The client must understand every format that the sandbox can write.
func TestTokenLifeOfEveryFormat(t *testing.T) {
	t.Parallel()
	vendor := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)
	for format, opaqueLife := range map[annatest.Format]time.Duration{
		annatest.Seconds:     20 * time.Minute,
		annatest.Timestamp:   20 * time.Minute,
		annatest.RFC3339:     20 * time.Minute,
		annatest.EpochSecond: 20 * time.Minute,
		annatest.EpochMilli:  20 * time.Minute,
		annatest.Clock:       20 * time.Minute,
		annatest.Empty:       5 * time.Minute,
		annatest.Invalid:     5 * time.Minute,
	} {
		for _, isOpaque := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s opaque=%v", format, isOpaque), func(t *testing.T) {
				t.Parallel()
				sb := newSandbox(annatest.Options{
					ExpiresIn: format,
					TokenLife: 20 * time.Minute,
					Opaque:    isOpaque,
					Now:       func() time.Time { return vendor },
				})
				sb.Inject(
					sandbox.Fault{
						Op:     annatest.OpToken,
						Header: map[string]string{"Date": vendor.Format(http.TimeFormat)},
					},
				)
				grant, err := newLogin(t, config(clientstest.Serve(t, sb, mount))).Fetch(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := opaqueLife
				if !isOpaque {
					want = 20 * time.Minute // the JWT says so
				}
				if grant.Life != want {
					t.Errorf("life %v, want %v", grant.Life, want)
				}
			})
		}
	}
}
