package redisguard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many masters one finding names.
const maxNamed = 3

var severity = map[Level]int{
	OK:   0,
	Warn: 1,
	Fail: 2,
}

// merge makes one report of the findings of a cluster's masters: for each name
// the worst, with the masters that have it.
func merge(nodes []node) Report {
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.addr, b.addr) })
	var r Report
	r.Findings = append(r.Findings, mergeReachable(nodes))
	for _, name := range []string{Version, Role, Eviction, Persistence, Writable, Clock, Latency} {
		if f, found := mergeNamed(nodes, name); found {
			r.Findings = append(r.Findings, f)
		}
	}
	return r
}

func mergeReachable(nodes []node) Finding {
	var unanswered []node
	for _, n := range nodes {
		if n.err != nil {
			unanswered = append(unanswered, n)
		}
	}
	if len(unanswered) == 0 {
		return Finding{OK, Reachable, fmt.Sprintf("%d masters answer", len(nodes)), ""}
	}
	f := unreachable(unanswered[0].err)
	f.Seen = fmt.Sprintf(
		"%d of %d masters cannot be asked: %s on %s",
		len(unanswered),
		len(nodes),
		f.Seen,
		addrs(unanswered),
	)
	return f
}

func mergeNamed(nodes []node, name string) (worst Finding, found bool) {
	bySeen := map[string][]node{} // those with the worst level
	var order []string
	total := 0
	for _, n := range nodes {
		i := slices.IndexFunc(n.findings, func(f Finding) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		f := n.findings[i]
		total++
		switch {
		case !found || severity[f.Level] > severity[worst.Level]:
			worst, found = f, true
			bySeen, order = map[string][]node{}, nil
		case severity[f.Level] < severity[worst.Level]:
			continue
		}
		if bySeen[f.Seen] == nil {
			order = append(order, f.Seen)
		}
		bySeen[f.Seen] = append(bySeen[f.Seen], n)
	}
	if len(order) == 1 && len(bySeen[order[0]]) == total {
		return worst, found // all masters agree
	}
	var parts []string
	for i, seen := range order {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %d others", len(order)-i))
			break
		}
		parts = append(parts, seen+" on "+addrs(bySeen[seen]))
	}
	worst.Seen = strings.Join(parts, "; ")
	return worst, found
}

func addrs(nodes []node) string {
	var names []string
	for i, n := range nodes {
		if i == maxNamed {
			names = append(names, fmt.Sprintf("%d others", len(nodes)-i))
			break
		}
		names = append(names, n.addr)
	}
	return strings.Join(names, ", ")
}
