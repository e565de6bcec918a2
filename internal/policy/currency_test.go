package policy

import "testing"

// Money of another currency is not added up: the move is valued anew, or is an error.
func TestMoneyOfAnotherCurrency(t *testing.T) {
	m := Movement{Initiator: "ada", Chain: "eip155:1", Currency: "EUR", Moves: []Move{{Asset: "eip155:1/slip44:60"}}}
	m.Moves[0].Amount.SetUint64(1)
	m.Moves[0].Money.SetUint64(7)
	if n, err := m.Counts(&Query{Measure: MeasureMoney, Currency: "USD"}); err == nil {
		t.Errorf("7 EUR count as %s USD", n.Dec())
	}
	if n, err := m.Counts(&Query{Measure: MeasureMoney, Currency: "EUR"}); err != nil || n.Uint64() != 7 {
		t.Errorf("7 EUR count as %s: %v", n.Dec(), err)
	}
}
