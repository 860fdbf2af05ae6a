package annatest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"errand.internal/clients/sandbox"
)

// filterNames are the keys of messengerFilters.
var filterNames = []string{
	"departmentAlias",
	"channelAlias",
	"dataIni",
	"dataFim",
	"status",
	"pendentes",
}

func (s *Sandbox) alertCounter(c *sandbox.Call) sandbox.Answer {
	return s.withAlerts(c, func(n int) sandbox.Answer {
		return success("", map[string]any{"alertCounter": n})
	})
}

// requests lists one request per alert.
func (s *Sandbox) requests(c *sandbox.Call) sandbox.Answer {
	return s.withAlerts(c, func(n int) sandbox.Answer {
		list := []map[string]any{}
		for i := range n {
			list = append(list, map[string]any{
				"department":  "Sales",
				"channel":     "Web",
				"description": fmt.Sprintf("Request %d", i+1),
				"openingDate": "31/12/2024",
				"protocol":    fmt.Sprintf("2024-%04d", i+1),
				"status":      "A",
				"pending":     "S",
				"link":        fmt.Sprintf("https://chat.example/requests/%d", i+1),
			})
		}
		return success("", map[string]any{"userRequests": list})
	})
}

// withAlerts checks a request of AlertCounter or Requests, which have the same
// form, and calls answer with the user's alert counter.
func (s *Sandbox) withAlerts(c *sandbox.Call, answer func(n int) sandbox.Answer) sandbox.Answer {
	var filters struct {
		MessengerFilters json.RawMessage `json:"messengerFilters"`
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(c.Body, &outer) != nil || json.Unmarshal(c.Body, &filters) != nil {
		return failure(http.StatusBadRequest, "a JSON object is expected")
	}
	delete(outer, "messengerFilters")
	rest, _ := json.Marshal(outer) // decoded JSON always encodes
	in, err := decodeStrings(rest, "hash", "userId", "userDocType", "userDocValue")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if err := checkFilters(filters.MessengerFilters); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	n, known := s.alertsOf(in)
	if !known {
		return failure(http.StatusOK, "User "+in["hash"]+"@"+in["userId"]+" not found.")
	}
	return answer(n)
}

// alertsOf returns the alert counter of the user that a request identifies by ID
// or by document, and false if there is no such user.
func (s *Sandbox) alertsOf(in map[string]string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[in["userId"]]; ok {
		return u.alerts, true
	}
	n, ok := s.alerts[documentKey(in["userDocType"], in["userDocValue"])]
	return n, ok && in["userId"] == ""
}

func checkFilters(raw json.RawMessage) error {
	in, err := decodeStrings(raw, filterNames...)
	if err != nil {
		return fmt.Errorf("messengerFilters: %w", err)
	}
	for _, name := range []string{"dataIni", "dataFim"} {
		if _, err := time.Parse("02/01/2006", in[name]); in[name] != "" && err != nil {
			return errors.New(name + " is not DD/MM/YYYY")
		}
	}
	if status := in["status"]; status != "" && status != "A" && status != "E" {
		return errors.New("status is neither A nor E")
	}
	if pending := in["pendentes"]; pending != "" && pending != "S" && pending != "N" {
		return errors.New("pendentes is neither S nor N")
	}
	return nil
}

func (s *Sandbox) structure(c *sandbox.Call) sandbox.Answer {
	if _, err := decodeStrings(c.Body, "hash"); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	return success("", map[string]any{"structure": map[string]any{
		"CompaniesHash": s.options.CompanyHash,
		"CompaniesName": "Sandbox Ltda.",
		"Departments": []map[string]any{
			{
				"Alias":    "sales",
				"Name":     "Sales",
				"Channels": []map[string]string{{"Alias": "web", "Name": "Web"}},
			},
		},
	}})
}

func (s *Sandbox) link(c *sandbox.Call) sandbox.Answer {
	in, err := decodeStrings(c.Body, "hash", "userId", "userDocType", "userDocValue")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if _, known := s.alertsOf(in); !known {
		return failure(http.StatusOK, "User "+in["hash"]+"@"+in["userId"]+" not found.")
	}
	c.Effect(in["userId"])
	return success("", map[string]any{
		"messengerLink": "https://chat.example/messenger?hash=" + rand.Text(),
	})
}
