package export

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"errand.internal/internal/secret"
)

// Config has those of the standard variables that decide whether spans are sent, and to
// whom. The SDK reads the others itself.
type Config struct {
	Endpoint       string        `env:"EXPORTER_OTLP_ENDPOINT" doc:"Where spans are sent, by OTLP over HTTP, such as http://127.0.0.1:4318 (docs/tracing.md). Unset: nowhere."`
	TracesEndpoint string        `env:"EXPORTER_OTLP_TRACES_ENDPOINT" doc:"The same as a whole URL, such as http://127.0.0.1:4318/v1/traces."`
	Headers        secret.String `env:"EXPORTER_OTLP_HEADERS" doc:"Headers of these requests, name=value[,...]."`
	Protocol       string        `env:"EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" doc:"Only http/protobuf."`
	Exporter       string        `env:"TRACES_EXPORTER" envDefault:"otlp" doc:"Otlp, or none to send no spans."`
	Disabled       bool          `env:"SDK_DISABLED" envDefault:"false" doc:"True sends no spans."`
}

// Enabled reports whether spans are sent.
func (c Config) Enabled() bool {
	return c.url() != "" && c.Exporter == "otlp" && !c.Disabled
}

// url is where spans are sent; "" for nowhere.
func (c Config) url() string {
	if c.TracesEndpoint != "" || c.Endpoint == "" {
		return c.TracesEndpoint
	}
	return strings.TrimRight(c.Endpoint, "/") + "/v1/traces"
}

// headers reads Headers, whose values may be encoded as those of a URL.
func (c Config) headers() map[string]string {
	headers := map[string]string{}
	for pair := range strings.SplitSeq(c.Headers.Reveal(), ",") {
		name, value, _ := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers
}

// Validate returns what is wrong with the settings.
func (c Config) Validate() error {
	var faults []error
	for _, endpoint := range []struct{ variable, value string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", c.Endpoint},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.TracesEndpoint},
	} {
		u, err := url.Parse(endpoint.value)
		if endpoint.value != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			faults = append(faults, fmt.Errorf("%s: must be a URL, such as http://127.0.0.1:4318", endpoint.variable))
		}
	}
	for pair := range strings.SplitSeq(c.Headers.Reveal(), ",") {
		name, _, found := strings.Cut(pair, "=")
		if strings.TrimSpace(pair) != "" && (!found || strings.TrimSpace(name) == "") {
			faults = append(faults, errors.New("OTEL_EXPORTER_OTLP_HEADERS: must be name=value[,...]"))
			break
		}
	}
	if c.Protocol != "http/protobuf" {
		faults = append(faults, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf"))
	}
	if c.Exporter != "otlp" && c.Exporter != "none" {
		faults = append(faults, errors.New("OTEL_TRACES_EXPORTER: must be otlp or none"))
	}
	return errors.Join(faults...)
}
