package anna_test

import (
	"strings"
	"testing"

	"errand.internal/internal/config"
)

func TestAllWrongSettingsAreReported(t *testing.T) {
	t.Parallel()
	_, err := config.Load(map[string]string{
		"ANNA_URL":         "http://anna.example",
		"ANNA_USER":        "u",
		"ANNA_RATE":        "5/m/s",
		"ANNA_CONCURRENCY": "0",
	})
	if err == nil {
		t.Fatal("wrong settings were accepted")
	}
	for _, variable := range []string{
		"ANNA_URL",
		"ANNA_COMPANY_HASH",
		"ANNA_PASSWORD",
		"ANNA_RATE",
		"ANNA_CONCURRENCY",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+variable+":") {
			t.Errorf("nothing is said about %s in\n%v", variable, err)
		}
	}
}
