package form

import "fmt"

// Suggest is "; did you mean X?" for the candidate nearest to what somebody wrote,
// or nothing when none is near.
func Suggest(got string, candidates []string) string {
	if len(got) > 64 {
		return ""
	}
	best, distance := "", 4
	for _, c := range candidates {
		if d := editDistance(got, c); d < distance && d*2 <= len(c) {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is Levenshtein's, over bytes, without regard to ASCII case.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if lower(a[i-1]) != lower(b[j-1]) {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
