package export

import (
	"testing"

	"errand.internal/internal/settings"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	type prefixed struct {
		Config `envPrefix:"OTEL_"`
	}
	for _, tc := range []struct {
		name    string
		environ map[string]string
		url     string // "" if nothing is sent
		fault   string
	}{
		{"nothing set", nil, "", ""},
		{"a collector", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}, "http://collector:4318/v1/traces", ""},
		{"a path", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector/otlp"}, "https://collector/otlp/v1/traces", ""},
		{
			"a URL for traces counts more",
			map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT":        "http://collector:4318",
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces/in",
			},
			"http://traces/in", "",
		},
		{
			"disabled",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector", "OTEL_SDK_DISABLED": "true"},
			"", "",
		},
		{
			"no exporter",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector", "OTEL_TRACES_EXPORTER": "none"},
			"", "",
		},
		{
			"wrong",
			map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
				"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
				"OTEL_TRACES_EXPORTER":        "jaeger",
			},
			"",
			"OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL, such as http://127.0.0.1:4318\n" +
				"OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf\n" +
				"OTEL_TRACES_EXPORTER: must be otlp or none",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var cfg prefixed
			if err := settings.Load(&cfg, tc.environ); err != nil {
				t.Fatal(err)
			}
			fault := ""
			if err := cfg.Validate(); err != nil {
				fault = err.Error()
			}
			if fault != tc.fault {
				t.Errorf("fault %q, want %q", fault, tc.fault)
			}
			if fault == "" && (cfg.Enabled() != (tc.url != "") || tc.url != "" && cfg.url() != tc.url) {
				t.Errorf("spans are sent (%v) to %q, want %q", cfg.Enabled(), cfg.url(), tc.url)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	var cfg struct {
		Config `envPrefix:"OTEL_"`
	}
	if err := settings.Load(&cfg, map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20YTpi, x-team = ops,,",
	}); err != nil {
		t.Fatal(err)
	}
	got := cfg.headers()
	if len(got) != 2 || got["Authorization"] != "Basic YTpi" || got["x-team"] != "ops" {
		t.Errorf("%q", got)
	}
}
